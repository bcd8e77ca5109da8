"""Photographs as training batches: random crops at random scales, the same ones for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nstopt.errors import MediaError
from nstopt.pictures import RGB, list_pictures, read_picture, resize
from nstopt.size import Size

LARGEST_SCALE = 2.0  # the shorter side of a photograph is between one and two crops long when it is cut


class Crops:
    """Square crops of the photographs of a folder, all kept in memory as uint8.

    Raises MediaError if the folder is missing, holds no picture, or one of them cannot be read.
    """

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        self.photos = [read_picture(path).rgb for path in list_pictures(folder)]
        if not self.photos:
            raise MediaError(f"{folder}: no pictures to train on; put photographs (.jpg, .png) there")
        self.side = side
        self._random = np.random.default_rng(seed)
        self._order: list[int] = []

    def batch(self, count: int) -> Tensor:
        """float32 [count, 3, side, side] RGB in 0..255. Every photograph is used once before any is used again."""
        crops = np.stack([self._crop(self.photos[self._next()]) for _ in range(count)])
        return to_tensor(crops)

    def _next(self) -> int:
        if not self._order:
            self._order = self._random.permutation(len(self.photos)).tolist()
        return self._order.pop()

    def _crop(self, rgb: RGB) -> RGB:
        shorter = round(self.side * self._random.uniform(1.0, LARGEST_SCALE))
        scaled = resize_shorter(rgb, shorter)
        top = int(self._random.integers(scaled.shape[0] - self.side + 1))
        left = int(self._random.integers(scaled.shape[1] - self.side + 1))
        crop = scaled[top : top + self.side, left : left + self.side]
        return crop[:, ::-1] if self._random.random() < 0.5 else crop


def resize_shorter(rgb: RGB, shorter: int) -> RGB:
    """`rgb` uint8 [H, W, 3] resampled so that its shorter side is `shorter` pixels, its aspect kept."""
    height, width = rgb.shape[:2]
    scale = shorter / min(height, width)
    return resize(rgb, Size(max(shorter, round(height * scale)), max(shorter, round(width * scale))))


def to_tensor(rgb: RGB) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W], still 0..255."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))).to(torch.float32)
