"""Scene cuts: frames that another camera, or another take, has filmed than the frame before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nstopt.pictures.files import Picture

BITS = 3  # of each color channel: 8 x 8 x 8 bins
# Share of the pixels whose color must change. Motion leaves the colors of a scene as they are: neighboring frames
# differ by 0.01, by 0.15 in fast motion, by 0.25 at most after a pan over a quarter of the picture. Of pairs of
# photographs, 99 in 100 differ by more than 0.4.
CUT = 0.35


def is_cut(frame: Picture, before: Picture) -> bool:
    """Return True if a scene ends between two frames, uint8 RGB [H, W, 3] each.

    Histogram comparison, Zhang, Kankanhalli & Smoliar 1993, "Automatic partitioning of full-motion video", section 2.2:
    half the sum of the absolute differences of the color histograms, which is 0..1, exceeds CUT. Where things are in
    the picture does not count, so that motion is not mistaken for a cut.
    """
    return float(np.abs(_histogram(frame) - _histogram(before)).sum()) / 2 > CUT


def _histogram(frame: Picture) -> NDArray[np.float64]:
    """Return the share of the pixels of each color, [512]."""
    red, green, blue = np.moveaxis(frame >> (8 - BITS), 2, 0).astype(np.intp)
    colors = red << (2 * BITS) | green << BITS | blue
    counts = np.bincount(colors.ravel(), minlength=1 << (3 * BITS))
    return np.asarray(counts / colors.size, np.float64)
