"""Johnson's feed-forward style net in the layout of the PyTorch examples (fast_neural_style, TransformerNet).

Johnson, Alahi, Fei-Fei 2016, arXiv:1603.08155, with instance instead of batch normalisation (Ulyanov et al. 2016,
arXiv:1607.08022) and nearest upsampling + convolution instead of transposed convolutions:

    conv k9, conv k3 /2, conv k3 /2 · residual blocks without ReLU after the sum · (up x2, conv k3) twice · conv k9

with reflection padding everywhere, and instance norm and ReLU after every convolution but the last and the second of a
block (norm only). Takes and gives RGB in 0..255.
"""

from __future__ import annotations

import re
from itertools import pairwise

import torch
from torch import nn

from nstopt.nets.layers import Residual, reflect_conv, upsample
from nstopt.nets.layout import Family, Plan, State, count_blocks, majority, odd_kernel
from nstopt.nets.net import Convention

NAME = "johnson"
BLOCK = re.compile(r"res(\d+)\.")
# Until PyTorch 0.4 instance norm kept running statistics in the file although it never used them.
STALE = re.compile(r"(^|\.)in\d+\.(running_mean|running_var|num_batches_tracked)$")


def plan(state: State) -> Plan:
    """The net of this layout that the tensors of `state` (names to float32 tensors) suggest."""
    blocks = count_blocks(state, BLOCK)
    widths = [3]
    for conv, norm, default in _stages():
        places = ((f"{conv}.weight", 0), (f"{conv}.bias", 0), (f"{norm}.weight", 0), (f"{norm}.bias", 0))
        widths.append(majority(state, default, *places))
    kernels = [odd_kernel(state, 9 if c in ("conv1", "deconv3") else 3, f"{c}.conv2d.weight") for c in _convs(blocks)]
    with torch.device("meta"):
        module = _module(widths, kernels, blocks)
    return Plan(module, _names(blocks), tuple(widths[1:4]), blocks)


def design(widths: tuple[int, int, int], blocks: int) -> Plan:
    """A new net of this layout, to be trained: `widths` of the encoder's stages, which the decoder mirrors."""
    kernels = [9 if conv in ("conv1", "deconv3") else 3 for conv in _convs(blocks)]
    with torch.device("meta"):
        module = _module([3, *widths, widths[1], widths[0]], kernels, blocks)
    return Plan(module, _names(blocks), widths, blocks)


def _stages() -> list[tuple[str, str, int]]:
    """(convolution, norm, usual width) of the stages that choose a width of their own."""
    return [
        ("conv1.conv2d", "in1", 32),
        ("conv2.conv2d", "in2", 64),
        ("conv3.conv2d", "in3", 128),
        ("deconv1.conv2d", "in4", 64),
        ("deconv2.conv2d", "in5", 32),
    ]


def _convs(blocks: int) -> list[str]:
    residual = [f"res{i}.conv{j}" for i in range(1, blocks + 1) for j in (1, 2)]
    return ["conv1", "conv2", "conv3", *residual, "deconv1", "deconv2", "deconv3"]


def _norms(blocks: int) -> list[str]:
    residual = [f"res{i}.in{j}" for i in range(1, blocks + 1) for j in (1, 2)]
    return ["in1", "in2", "in3", *residual, "in4", "in5"]


def _names(blocks: int) -> tuple[str, ...]:
    convs, norms = _convs(blocks), _norms(blocks)
    layers = [name for conv, norm in zip(convs, norms, strict=False) for name in (f"{conv}.conv2d", norm)]
    layers.append(f"{convs[-1]}.conv2d")
    return tuple(f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))


def _module(widths: list[int], kernels: list[int], blocks: int) -> nn.Module:
    """`widths`: input, three encoder stages, two decoder stages. `kernels`: one a convolution, in layer order."""
    kernel = iter(kernels)
    layers: list[nn.Module] = []
    for (inputs, outputs), stride in zip(pairwise(widths[:4]), (1, 2, 2), strict=True):
        layers += [*_conv_norm(inputs, outputs, next(kernel), stride), nn.ReLU()]
    inner = widths[3]
    for _ in range(blocks):
        first, second = _conv_norm(inner, inner, next(kernel)), _conv_norm(inner, inner, next(kernel))
        layers.append(Residual(*first, nn.ReLU(), *second))
    for inputs, outputs in pairwise(widths[3:]):
        layers += [upsample(), *_conv_norm(inputs, outputs, next(kernel)), nn.ReLU()]
    layers.append(reflect_conv(widths[-1], 3, next(kernel)))
    return nn.Sequential(*layers)


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [reflect_conv(inputs, outputs, kernel, stride), nn.InstanceNorm2d(outputs, eps=1e-5, affine=True)]


FAMILY = Family(NAME, Convention(), multiple=4, plan=plan, stale=STALE)
