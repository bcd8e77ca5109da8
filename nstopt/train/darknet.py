"""The Darknet reference classifier (https://pjreddie.com/darknet/imagenet/) up to its fifth convolution.

A stage is a 3x3 convolution, batch norm and leaky ReLU; between two stages the picture is halved. The file is an .npz
that holds, for stages I = 1..5, `conv2d_I.kernel` (HWIO, no bias) and
`batch_normalization_I.{gamma,beta,moving_mean,moving_variance}`. Takes RGB in 0..1.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from nstopt.errors import CheckpointError
from nstopt.nets.layout import Shape, State, compare, majority
from nstopt.train.lossnet import LossLayer, LossNet, fixed_conv

STAGES = 5
CONTENT = "conv4"  # objects and edges, but no colors and textures
BATCH_NORM_EPSILON = 1e-3
NEGATIVE_SLOPE = 0.1
NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


def build(state: State, source: Path) -> LossNet:
    """The loss network of the file's tensors; stages conv1 .. conv5. Raises CheckpointError if it is another net.

    Pools by averages where the classifier took maxima: gradients reach every pixel, which gives better-looking pictures
    (Gatys et al. 2016, section 2).
    """
    if mismatch := compare(_expected(state), state):
        raise CheckpointError(
            f"{source} is no loss network that is known (Darknet's .npz, torchvision's VGG16 or VGG19); "
            f"as Darknet's: {mismatch.describe()}"
        )
    layers: list[LossLayer] = []
    for stage in range(1, STAGES + 1):
        layers += [LossLayer("", nn.AvgPool2d(2))] if stage > 1 else []
        layers += [
            LossLayer("", fixed_conv(*_fold(state, stage))),
            LossLayer(f"conv{stage}", nn.LeakyReLU(NEGATIVE_SLOPE)),
        ]
    return LossNet(layers, tuple(f"conv{stage}" for stage in range(1, STAGES + 1)), CONTENT)


def _expected(state: State) -> dict[str, Shape]:
    """The names and shapes of a loss network that is as wide as the kernels of `state`."""
    kernels = [f"conv2d_{stage}.kernel" for stage in range(1, STAGES + 1)]
    widths = [3, *(majority(state, 16 * 2**index, (kernel, 3)) for index, kernel in enumerate(kernels))]
    shapes: dict[str, Shape] = {}
    for stage, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        shapes[f"conv2d_{stage}.kernel"] = (3, 3, inputs, outputs)
        shapes.update({f"batch_normalization_{stage}.{part}": (outputs,) for part in NORM_PARTS})
    return shapes


def _fold(state: State, stage: int) -> tuple[Tensor, Tensor]:
    """Kernel (OIHW) and bias of a convolution that does the batch norm too: its statistics are fixed."""
    gamma, beta, mean, variance = (state[f"batch_normalization_{stage}.{part}"] for part in NORM_PARTS)
    scale = gamma * torch.rsqrt(variance + BATCH_NORM_EPSILON)
    kernel = state[f"conv2d_{stage}.kernel"].permute(3, 2, 0, 1) * scale[:, None, None, None]
    return kernel.contiguous(), beta - mean * scale
