"""The Darknet reference classifier (https://pjreddie.com/darknet/imagenet/) up to its fifth convolution.

A stage is a 3x3 convolution, batch norm and leaky ReLU; pooling halves the size between two stages. The file is an .npz
that holds, for stages I = 1..5, `conv2d_I.kernel` (HWIO, no bias) and
`batch_normalization_I.{gamma,beta,moving_mean,moving_variance}`. The input is RGB in 0..1.
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
CONTENT = "conv4"  # represents objects and edges, but neither colors nor textures
BATCH_NORM_EPSILON = 1e-3
NEGATIVE_SLOPE = 0.1
NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


def build(state: State, source: Path) -> LossNet:
    """Build the loss network of a file's tensors, with stages conv1 .. conv5.

    Average pooling replaces the classifier's max pooling: gradients reach every pixel, and pictures look better (Gatys
    et al. 2016, section 2). Raises CheckpointError, naming the file `source`, if the tensors belong to another net.
    """
    if mismatch := compare(_expected(state), state):
        raise CheckpointError(
            f"{source} is not a known loss network (Darknet's .npz, torchvision's VGG16 or VGG19); "
            f"compared with Darknet's: {mismatch.describe()}"
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
    """Return the names and shapes of a loss network with the widths of the kernels in `state`."""
    kernels = [f"conv2d_{stage}.kernel" for stage in range(1, STAGES + 1)]
    widths = [3, *(majority(state, 16 * 2**index, (kernel, 3)) for index, kernel in enumerate(kernels))]
    shapes: dict[str, Shape] = {}
    for stage, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        shapes[f"conv2d_{stage}.kernel"] = (3, 3, inputs, outputs)
        shapes.update({f"batch_normalization_{stage}.{part}": (outputs,) for part in NORM_PARTS})
    return shapes


def _fold(state: State, stage: int) -> tuple[Tensor, Tensor]:
    """Fold a stage's batch norm into its convolution; return the kernel (OIHW) and the bias."""
    gamma, beta, mean, variance = (state[f"batch_normalization_{stage}.{part}"] for part in NORM_PARTS)
    scale = gamma * torch.rsqrt(variance + BATCH_NORM_EPSILON)
    kernel = state[f"conv2d_{stage}.kernel"].permute(3, 2, 0, 1) * scale[:, None, None, None]
    return kernel.contiguous(), beta - mean * scale
