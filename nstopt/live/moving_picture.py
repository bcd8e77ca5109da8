"""The moving test picture: a window that wanders over a photograph, made by code. It stands in for a camera."""

from __future__ import annotations

import functools
import math

import numpy as np

from nstopt.pictures.files import Picture, cover, demo_photograph, read_picture
from nstopt.pictures.size import Size

PHOTOGRAPH = "motorcycle"
# Side of the photograph over that of the window, and the seconds that the window takes across and down and up again.
MARGIN = 1.25
ACROSS_S, DOWN_S = 11.0, 7.0


def moving_picture(size: Size, seconds: float) -> Picture:
    """Return the picture at a time, uint8 RGB [H, W, 3]. Raises MediaError if scikit-image, which ships the photograph,
    is not installed."""
    photograph = _photograph(size)
    top, left = (
        round((all_of_it - window) * (0.5 + 0.5 * math.sin(2 * math.pi * seconds / period)))
        for all_of_it, window, period in zip(photograph.shape, size, (DOWN_S, ACROSS_S), strict=False)
    )
    return np.ascontiguousarray(photograph[top : top + size.height, left : left + size.width])


@functools.lru_cache(maxsize=4)
def _photograph(window: Size) -> Picture:
    photograph = read_picture(demo_photograph(PHOTOGRAPH)).rgb
    return cover(photograph, Size(round(window.height * MARGIN), round(window.width * MARGIN)))
