"""Histogram → the range that 8 bits should cover.

The range minimises the mean squared error of the quantised activations over the calibration pictures. Clipping a fixed
percentile instead costs style nets up to 15 dB: their few large activations carry the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.calib.observe import Histogram

LEVELS = 255
# Shrink factors that are tried for either end of the range.
SHRINK = np.linspace(1.0, 0.3, 36)


class Range(NamedTuple):
    """Real value = (integer - zero_point) * scale, integer in 0..255."""

    scale: float
    zero_point: int


def best_range(histogram: Histogram) -> Range:
    """The asymmetric uint8 range of least mean squared error. It always contains 0, which padding needs to be exact."""
    filled = histogram.counts > 0
    values, counts = histogram.centres[filled], histogram.counts[filled]
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    candidates = {asymmetric(low * down, high * up) for up in SHRINK for down in (SHRINK if low < 0 else (1.0,))}
    return min(sorted(candidates, reverse=True), key=lambda c: _error(values, counts, c))


def asymmetric(low: float, high: float) -> Range:
    """The uint8 range from `low` ≤ 0 to `high` ≥ 0, its zero point rounded to an integer."""
    scale = (high - low) / LEVELS or 1.0
    # Scales travel as float32: round here, so that what is judged is what is stored.
    return Range(float(np.float32(scale)), round(-low / scale))


def _error(values: NDArray[np.float64], counts: NDArray[np.int64], candidate: Range) -> float:
    quantised = np.clip(np.rint(values / candidate.scale) + candidate.zero_point, 0, LEVELS)
    restored = (quantised - candidate.zero_point) * candidate.scale
    return float((counts * (values - restored) ** 2).sum())
