"""ReCoNet, the style net for temporally consistent video (Gao et al. 2018, arXiv:1807.01197).

The layout is that of EmptySamurai/pytorch-reconet:

    conv k9, conv k3 /2, conv k3 /2 · residual blocks with an activation after the sum · (up x2, conv k3) twice ·
    conv k9, tanh

with reflection padding everywhere. A norm and an activation follow every convolution but the last; after the second
convolution of a block, the activation comes after the sum. They are either instance norm and ReLU, or filter response
normalization and a thresholded linear unit (Singh & Krishnan 2019, arXiv:1911.09737). Input and output are RGB in
-1..1.
"""

from __future__ import annotations

import re
from itertools import pairwise

import torch
from torch import Tensor, nn

from nstopt.nets.layers import Residual, reflect_conv, upsample
from nstopt.nets.layout import Blueprint, Family, State, count_blocks, majority, odd_kernel
from nstopt.nets.net import Convention

NAME = "reconet"
BLOCK = re.compile(r"encoder\.layers\.(\d+)\.branch\.")
THRESHOLD = re.compile(r"\.tau$")
LAST = "decoder.layers.4"  # convolution and tanh, no norm
FIRST_BLOCK = 3  # the encoder's layers are three convolutions, then the blocks


class FilterResponseNorm(nn.Module):
    """x / sqrt(mean over H, W of x^2 + |eps|) * weight + bias, per channel (arXiv:1911.09737, equations 1 to 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(1, channels, 1, 1))
        self.register_buffer("eps", torch.empty(1))
        self.eps: Tensor
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the values that a training starts from."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.constant_(self.eps, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize float32 [N, C, H, W]."""
        power = x.square().mean(dim=(2, 3), keepdim=True)
        return x * torch.rsqrt(power + self.eps.abs()) * self.weight + self.bias


class ThresholdedLinear(nn.Module):
    """max(x, tau) with a learned tau per channel: the TLU of arXiv:1911.09737."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.empty(1, channels, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set tau to 0: a training starts from a ReLU."""
        nn.init.zeros_(self.tau)

    def forward(self, x: Tensor) -> Tensor:
        """Clamp float32 [N, C, H, W] from below."""
        return torch.maximum(x, self.tau)


def blueprint(state: State) -> Blueprint:
    """Return the blueprint of this layout whose sizes fit the tensors of `state` best."""
    blocks = count_blocks(state, BLOCK)
    frn = any(THRESHOLD.search(name) for name in state)
    widths = [3]
    for stage, default in zip((*_encoder(), *_decoder()), (48, 96, 192, 96, 48), strict=True):
        conv, norm = f"{stage}.layers.0.layers.1", f"{stage}.layers.1"
        norm_axis = 1 if frn else 0
        places = (
            (f"{conv}.weight", 0),
            (f"{conv}.bias", 0),
            (f"{norm}.weight", norm_axis),
            (f"{norm}.bias", norm_axis),
        )
        widths.append(majority(state, default, *places))
    names = _names(blocks, frn)
    stages = [*_encoder(), *_branches(blocks), *_decoder(), LAST]
    kernels = [odd_kernel(state, 9 if s in (stages[0], LAST) else 3, f"{s}.layers.0.layers.1.weight") for s in stages]
    with torch.device("meta"):
        module = _module(widths, kernels, blocks, frn)
    return Blueprint(module, names, tuple(widths[1:4]), blocks)


def design(widths: tuple[int, int, int], blocks: int, frn: bool) -> Blueprint:
    """Return the blueprint of a new net of this layout, to be trained.

    `widths` are the channel counts of the encoder's stages, which the decoder mirrors. `frn` selects filter response
    norm with thresholded linear units instead of instance norm with ReLU.
    """
    kernels = [9, *[3] * (2 * blocks + 4), 9]
    with torch.device("meta"):
        module = _module([3, *widths, widths[1], widths[0]], kernels, blocks, frn)
    return Blueprint(module, _names(blocks, frn), widths, blocks)


def _encoder() -> list[str]:
    return [f"encoder.layers.{i}" for i in range(FIRST_BLOCK)]


def _decoder() -> list[str]:
    return ["decoder.layers.1", "decoder.layers.3"]  # 0 and 2 are upsamplings without tensors


def _branches(blocks: int) -> list[str]:
    return [f"encoder.layers.{i}.branch.{j}" for i in range(FIRST_BLOCK, FIRST_BLOCK + blocks) for j in (0, 1)]


def _names(blocks: int, frn: bool) -> tuple[str, ...]:
    names = [name for stage in _encoder() for name in _stage_names(stage, frn)]
    for block in range(FIRST_BLOCK, FIRST_BLOCK + blocks):
        prefix = f"encoder.layers.{block}"
        names += _stage_names(f"{prefix}.branch.0", frn)
        names += _stage_names(f"{prefix}.branch.1", frn, activation=False)
        names += [f"{prefix}.activation.tau"] if frn else []
    names += [name for stage in _decoder() for name in _stage_names(stage, frn)]
    return (*names, f"{LAST}.layers.0.layers.1.weight", f"{LAST}.layers.0.layers.1.bias")


def _stage_names(stage: str, frn: bool, activation: bool = True) -> list[str]:
    parts = ["layers.0.layers.1.weight", "layers.0.layers.1.bias", "layers.1.weight", "layers.1.bias"]
    if frn:
        parts += ["layers.1.eps", "layers.2.tau"] if activation else ["layers.1.eps"]
    return [f"{stage}.{part}" for part in parts]


def _module(widths: list[int], kernels: list[int], blocks: int, frn: bool) -> nn.Module:
    """Build the net. `widths`: input, three encoder stages, two decoder stages. `kernels`: one per convolution."""
    kernel = iter(kernels)
    layers: list[nn.Module] = []
    for (inputs, outputs), stride in zip(pairwise(widths[:4]), (1, 2, 2), strict=True):
        layers += [*_conv_norm(inputs, outputs, next(kernel), stride, frn), _activation(outputs, frn)]
    inner = widths[3]
    for _ in range(blocks):
        first, second = (_conv_norm(inner, inner, next(kernel), 1, frn) for _ in range(2))
        layers += [Residual(*first, _activation(inner, frn), *second), _activation(inner, frn)]
    for inputs, outputs in pairwise(widths[3:]):
        layers += [upsample(), *_conv_norm(inputs, outputs, next(kernel), 1, frn), _activation(outputs, frn)]
    return nn.Sequential(*layers, reflect_conv(widths[-1], 3, next(kernel)), nn.Tanh())


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int, frn: bool) -> list[nn.Module]:
    norm = FilterResponseNorm(outputs) if frn else nn.InstanceNorm2d(outputs, eps=1e-5, affine=True)
    return [reflect_conv(inputs, outputs, kernel, stride), norm]


def _activation(channels: int, frn: bool) -> nn.Module:
    return ThresholdedLinear(channels) if frn else nn.ReLU()


FAMILY = Family(NAME, Convention(input_range=(-1.0, 1.0), output_range=(-1.0, 1.0)), multiple=4, blueprint=blueprint)
