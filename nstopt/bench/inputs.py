"""The pictures that cases are timed on: random noise, or one picture brought to each case's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nstopt.pictures.files import Picture, cover, read_picture
from nstopt.pictures.noise import noise
from nstopt.pictures.size import Size


class BenchInputs:
    """Gives every case its pictures, uint8 RGB [batch, height, width, 3]. `name` is "noise" or the picture's file
    name."""

    def __init__(self, image: Path | None) -> None:
        """Raises MediaError if `image` cannot be read."""
        self.name = image.name if image else "noise"
        self._rgb = read_picture(image).rgb if image else None

    def pictures(self, size: Size, batch: int) -> Picture:
        """The picture cropped and resampled to `size`, `batch` times; or the same noise at every call."""
        if self._rgb is None:
            return noise(size, batch)
        return np.repeat(cover(self._rgb, size)[None], batch, axis=0)
