"""Which kinds of pictures a calibration set has: ranges may clip the values of a kind that was not seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Rec. 709.
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
# Mean luminance, and mean step from pixel to pixel, in gray levels. Of 64 photographs of BSDS500 at 512x512, about a
# tenth lies beyond each.
DARK, BRIGHT = 80.0, 150.0
FLAT, BUSY = 3.0, 10.0
KINDS = ("dark", "bright", "flat", "busy")


def kinds(picture: NDArray[np.uint8]) -> set[str]:
    """Which of KINDS a picture, uint8 RGB [H, W, 3], is; an ordinary one is none."""
    gray = picture @ LUMINANCE
    light = float(gray.mean())
    step = float((np.abs(np.diff(gray, axis=0)).mean() + np.abs(np.diff(gray, axis=1)).mean()) / 2)
    found = {"dark": light < DARK, "bright": light > BRIGHT, "flat": step < FLAT, "busy": step > BUSY}
    return {kind for kind, is_so in found.items() if is_so}


def coverage(pictures: Iterable[NDArray[np.uint8]]) -> dict[str, int]:
    """How many pictures are of each kind."""
    counts = dict.fromkeys(KINDS, 0)
    for picture in pictures:
        for kind in kinds(picture):
            counts[kind] += 1
    return counts
