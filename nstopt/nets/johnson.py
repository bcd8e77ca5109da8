"""Johnson's feed-forward style net in the layout of the PyTorch examples (fast_neural_style, TransformerNet).

Johnson, Alahi, Fei-Fei 2016, arXiv:1603.08155, with instance instead of batch normalization (Ulyanov et al. 2016,
arXiv:1607.08022) and nearest upsampling + convolution instead of transposed convolutions:

    conv k9, conv k3 /2, conv k3 /2 · residual blocks without ReLU after the sum · (up x2, conv k3) twice · conv k9

with reflection padding everywhere. Instance norm and ReLU follow every convolution, with two exceptions: nothing
follows the last one, and norm alone follows the second one of a block. Input and output are RGB in 0..255.

The separable variant is nstopt's own, for distilled students: every convolution but the first and the last is split
into a depthwise and a pointwise one (Howard et al. 2017, arXiv:1704.04861). In the tensors' names, `depthwise` and
`pointwise` replace `conv2d`.
"""

from __future__ import annotations

import re
from itertools import pairwise

import torch
from torch import nn

from nstopt.nets.layers import Residual, reflect_conv, separable_conv, upsample
from nstopt.nets.layout import Blueprint, Family, State, count_blocks, majority, odd_kernel
from nstopt.nets.net import Convention

NAME = "johnson"
ENDS = ("conv1", "deconv3")  # the first convolution and the last
BLOCK = re.compile(r"res(\d+)\.")
# Until PyTorch 0.4, instance norm saved running statistics although it never used them.
STALE = re.compile(r"(^|\.)in\d+\.(running_mean|running_var|num_batches_tracked)$")


def blueprint(state: State) -> Blueprint:
    """Return the blueprint of this layout whose sizes fit the tensors of `state` best."""
    blocks = count_blocks(state, BLOCK)
    separable = any(".depthwise." in name for name in state)
    widths = [3]
    for conv, norm, default in _stages(separable):
        places = ((f"{conv}.weight", 0), (f"{conv}.bias", 0), (f"{norm}.weight", 0), (f"{norm}.bias", 0))
        widths.append(majority(state, default, *places))
    kernels = [
        odd_kernel(state, 9 if conv in ENDS else 3, f"{conv}.{_spatial(conv, separable)}.weight")
        for conv in _convs(blocks)
    ]
    with torch.device("meta"):
        module = _module(widths, kernels, blocks, separable)
    return Blueprint(module, _names(blocks, separable), tuple(widths[1:4]), blocks)


def design(widths: tuple[int, int, int], blocks: int, kernel: int = 9, separable: bool = False) -> Blueprint:
    """Return the blueprint of a new net of this layout, to be trained.

    `widths` are the channel counts of the encoder's stages, which the decoder mirrors; `kernel` is the size of the
    first and the last convolution.
    """
    kernels = [kernel if conv in ENDS else 3 for conv in _convs(blocks)]
    with torch.device("meta"):
        module = _module([3, *widths, widths[1], widths[0]], kernels, blocks, separable)
    return Blueprint(module, _names(blocks, separable), widths, blocks)


def _spatial(conv: str, separable: bool) -> str:
    """Return the name of the part of `conv` whose kernel covers more than one pixel."""
    return "depthwise" if separable and conv not in ENDS else "conv2d"


def _stages(separable: bool) -> list[tuple[str, str, int]]:
    """Return (convolution, norm, usual width) of each stage with a width of its own."""
    inner = "pointwise" if separable else "conv2d"
    return [
        ("conv1.conv2d", "in1", 32),
        (f"conv2.{inner}", "in2", 64),
        (f"conv3.{inner}", "in3", 128),
        (f"deconv1.{inner}", "in4", 64),
        (f"deconv2.{inner}", "in5", 32),
    ]


def _convs(blocks: int) -> list[str]:
    residual = [f"res{i}.conv{j}" for i in range(1, blocks + 1) for j in (1, 2)]
    return ["conv1", "conv2", "conv3", *residual, "deconv1", "deconv2", "deconv3"]


def _norms(blocks: int) -> list[str]:
    residual = [f"res{i}.in{j}" for i in range(1, blocks + 1) for j in (1, 2)]
    return ["in1", "in2", "in3", *residual, "in4", "in5"]


def _names(blocks: int, separable: bool) -> tuple[str, ...]:
    convs, norms = _convs(blocks), _norms(blocks)
    names = []
    for conv, norm in zip(convs, [*norms, ""], strict=True):
        names += _conv_names(conv, separable)
        names += [f"{norm}.weight", f"{norm}.bias"] if norm else []
    return tuple(names)


def _conv_names(conv: str, separable: bool) -> list[str]:
    if separable and conv not in ENDS:
        return [f"{conv}.depthwise.weight", f"{conv}.pointwise.weight", f"{conv}.pointwise.bias"]
    return [f"{conv}.conv2d.weight", f"{conv}.conv2d.bias"]


def _module(widths: list[int], kernels: list[int], blocks: int, separable: bool) -> nn.Module:
    """Build the net. `widths`: input, three encoder stages, two decoder stages. `kernels`: one per convolution."""
    kernel = iter(kernels)
    conv = separable_conv if separable else reflect_conv

    def conv_norm(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
        return [conv(inputs, outputs, next(kernel), stride), _norm(outputs)]

    layers: list[nn.Module] = [reflect_conv(widths[0], widths[1], next(kernel)), _norm(widths[1]), nn.ReLU()]
    for inputs, outputs in pairwise(widths[1:4]):
        layers += [*conv_norm(inputs, outputs, 2), nn.ReLU()]
    inner = widths[3]
    for _ in range(blocks):
        first, second = conv_norm(inner, inner), conv_norm(inner, inner)
        layers.append(Residual(*first, nn.ReLU(), *second))
    for inputs, outputs in pairwise(widths[3:]):
        layers += [upsample(), *conv_norm(inputs, outputs), nn.ReLU()]
    layers.append(reflect_conv(widths[-1], 3, next(kernel)))
    return nn.Sequential(*layers)


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, eps=1e-5, affine=True)


FAMILY = Family(NAME, Convention(), multiple=4, blueprint=blueprint, stale=STALE)
