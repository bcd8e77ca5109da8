"""The loss network: a fixed classifier whose features describe a picture's content and style.

darknet.py and vgg.py build one from a file's tensors; load_lossnet.py chooses between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class LossLayer(NamedTuple):
    """A layer, and the name of the stage whose features it computes; "" for layers in between."""

    stage: str
    module: nn.Module


class LossNet(nn.Module):
    """A frozen classifier that returns the features of its stages.

    The statistics of the stages `style` define a picture's style, the features of the stage `content` its content.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layers: Sequence[LossLayer],
        style: tuple[str, ...],
        content: str,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """`mean` and `std` normalize a picture in 0..1, per channel: (picture - mean) / std."""
        super().__init__()
        self.style, self.content = style, content
        self._stages = [layer.stage for layer in layers]
        self.layers = nn.ModuleList(layer.module for layer in layers)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Compute the features of RGB [N, 3, H, W] in 0..255 by stage, finest first, float32 [N, C, h, w] each."""
        x, features = (picture / 255 - self.mean) / self.std, {}
        for stage, layer in zip(self._stages, self.layers, strict=True):
            x = layer(x)
            if stage:
                features[stage] = x.float()
        return features


def fixed_conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a convolution with zero padding that keeps height and width; `weight` is [out, in, k, k]."""
    with torch.device("meta"):  # no initial weights, which would draw from the random generator
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding="same")
    conv.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return conv
