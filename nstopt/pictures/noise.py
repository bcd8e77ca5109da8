"""Pictures of random bytes, for timing."""

from __future__ import annotations

import numpy as np

from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size

NOISE_SEED = 0


def noise(size: Size, batch: int) -> Picture:
    """Random bytes, the same ones each time. A convolution takes as long on noise as on a photograph; noise is at
    hand everywhere."""
    shape = (batch, size.height, size.width, 3)
    return np.random.default_rng(NOISE_SEED).integers(0, 256, shape, dtype=np.uint8)
