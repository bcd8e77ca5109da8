"""The perceptual objective of Gatys, Johnson and ReCoNet: content, style and total variation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nstopt.pictures.files import read_picture
from nstopt.train.losses import content_loss, gram, style_loss, total_variation
from nstopt.train.lossnet import LossNet
from nstopt.train.photos import resize_shorter, to_tensor


@dataclass(frozen=True)
class StyleSpec:
    """The style picture and the weights of the losses.

    `style_side` is the length in pixels to which the style picture's shorter side is resized; larger values give
    coarser strokes.
    """

    style: Path
    style_side: int = 300
    content_weight: float = 1.5
    style_weight: float = 6.0
    variation_weight: float = 1e-4


class Objective:
    """The weighted losses of stylized pictures and their photographs.

    Raises MediaError if the style picture cannot be read.
    """

    def __init__(self, spec: StyleSpec, lossnet: LossNet, device: torch.device) -> None:
        self._spec, self._lossnet = spec, lossnet.to(device)
        style = to_tensor(resize_shorter(read_picture(spec.style).rgb, spec.style_side))
        with torch.no_grad():
            features = lossnet(style[None].to(device))
        self._grams = {stage: gram(features[stage]) for stage in lossnet.style}
        # The norms of the stages' Gram matrices differ by orders of magnitude. Dividing by them balances the stages.
        self._scales = {
            stage: spec.style_weight / len(self._grams) / target.square().sum().item()
            for stage, target in self._grams.items()
        }

    def __call__(self, stylized: Tensor, photos: Tensor) -> dict[str, Tensor]:
        """Compute the weighted content, style and variation losses of float32 RGB [N, 3, H, W] in 0..255."""
        features, content = self._lossnet(stylized), self._lossnet.content
        with torch.no_grad():
            wanted = self._lossnet(photos)[content]
        style = [scale * style_loss(features[stage], self._grams[stage]) for stage, scale in self._scales.items()]
        return {
            "content": self._spec.content_weight * content_loss(features[content], wanted),
            "style": torch.stack(style).sum(),
            "variation": self._spec.variation_weight * total_variation(stylized.float()),
        }
