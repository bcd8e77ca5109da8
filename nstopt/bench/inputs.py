"""The pictures that cases are timed on: random noise, or one picture resampled to each case's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nstopt.errors import printable
from nstopt.pictures.files import Picture, cover, read_picture
from nstopt.pictures.noise import noise
from nstopt.pictures.size import Size


class BenchInputs:
    """Inputs of all cases of a run. `name` is "noise" or the file name of the picture."""

    def __init__(self, image: Path | None) -> None:
        """Read `image`, if given. Raises MediaError if it cannot be read."""
        self.name = printable(image.name) if image else "noise"
        self._picture = read_picture(image).rgb if image else None

    def pictures(self, size: Size, batch: int) -> Picture:
        """Return uint8 RGB [batch, height, width, 3]: the picture, cropped and resampled, or always the same noise."""
        if self._picture is None:
            return noise(size, batch)
        return np.repeat(cover(self._picture, size)[None], batch, axis=0)
