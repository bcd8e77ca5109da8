"""The loss network: a fixed classifier whose features say what is in a picture (content) and how it is painted (style).

The Darknet reference classifier (https://pjreddie.com/darknet/imagenet/) up to its fifth convolution. A stage is a 3x3
convolution, batch norm and leaky ReLU; between two stages the picture is halved. The file is an .npz that holds, for
stages I = 1..5, `conv2d_I.kernel` (HWIO, no bias) and `batch_normalization_I.{gamma,beta,moving_mean,moving_variance}`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nstopt.errors import CheckpointError
from nstopt.nets.checkpoint import read_state_dict
from nstopt.nets.layout import Shape, State, compare, majority

STAGES = 5
BATCH_NORM_EPSILON = 1e-3
NEGATIVE_SLOPE = 0.1
NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


class LossNet(nn.Module):
    """float32 RGB [N, 3, H, W] in 0..255, H and W at least 16, to the features of the five stages, finest first.

    Pools by averages where the classifier took maxima: gradients reach every pixel, which gives better-looking pictures
    (Gatys et al. 2016, section 2). It is never trained itself.
    """

    def __init__(self, kernels: list[Tensor], biases: list[Tensor]) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for kernel, bias in zip(kernels, biases, strict=True):
            with torch.device("meta"):  # without weights of its own, for which it would draw random numbers
                conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2], padding="same")
            conv.load_state_dict({"weight": kernel, "bias": bias}, assign=True)
            self.convs.append(conv)
        self.eval().requires_grad_(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """The features, stage I (from 0) with height and width divided by 2^I."""
        x, features = picture / 255, []
        for index, conv in enumerate(self.convs):
            x = functional.leaky_relu(conv(x if index == 0 else functional.avg_pool2d(x, 2)), NEGATIVE_SLOPE)
            features.append(x)
        return features


def load_lossnet(path: Path) -> LossNet:
    """The Darknet loss network of an .npz file. Raises CheckpointError if it is missing, damaged, or another net."""
    state = read_state_dict(path)
    mismatch = compare(_expected(state), state)
    if mismatch:
        raise CheckpointError(f"{path} is not the Darknet loss network; {mismatch.describe()}")
    folded = [_fold(state, stage) for stage in range(1, STAGES + 1)]
    return LossNet([kernel for kernel, _ in folded], [bias for _, bias in folded])


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
