"""Histogram → the range that 8 bits should cover.

The range minimises the mean squared error of the quantised activations over the calibration pictures, each channel
weighted by how strongly it is read. Clipping a fixed percentile instead costs style nets up to 15 dB: their few large
activations carry the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.calib.observe import Histogram

LEVELS = 255
SIGNED_LEVELS = 127
SMALLEST = float(np.finfo(np.float32).tiny)  # of a scale; values below it are as good as 0
# OpenVINO drops a scale of exactly 1, which the picture itself has, and with it the INT8 kernel.
NEXT_TO_1 = float(np.nextafter(np.float32(1), np.float32(2)))
# Shrink factors that are tried for either end of the range.
SHRINK = np.linspace(1.0, 0.3, 36)
MERGED_BINS = 8192


class Range(NamedTuple):
    """Real value = (integer - zero_point) * scale, with an integer in 0..255, or in -127..127 if `signed`."""

    scale: float
    zero_point: int
    signed: bool = False


class Spread(NamedTuple):
    """All channels of a tensor together: how much weight each value has. `low` ≤ 0 ≤ `high` are the extremes."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    low: float
    high: float


def spread(
    histogram: Histogram, factors: NDArray[np.float64] | None = None, importance: NDArray[np.float64] | None = None
) -> Spread:
    """Merge the channels of a histogram, each divided by its `factors` [C] and counted `importance` [C] times."""
    ones = np.ones(len(histogram.counts))
    s = ones if factors is None else factors
    low, high = min(float((histogram.low / s).min()), 0.0), max(float((histogram.high / s).max()), 0.0)
    values = histogram.centres / s[:, None]
    weights = histogram.counts * (ones if importance is None else importance)[:, None]
    filled = weights > 0
    sums, edges = np.histogram(values[filled], MERGED_BINS, weights=weights[filled])
    centres = (edges[:-1] + edges[1:]) / 2
    return Spread(centres[sums > 0], sums[sums > 0], low, high)


def best_range(seen: Spread, zero_at_zero: bool = False) -> Range:
    """The range of least mean squared error: uint8 with any zero point or, if `zero_at_zero`, with a zero point of 0,
    which makes it int8 where values are negative. It always contains 0, which padding needs to be exact."""
    low, high = seen.low, seen.high
    if zero_at_zero and low < 0:
        peak = max(-low, high)
        candidates = {symmetric(peak * part) for part in SHRINK}
    else:
        candidates = {asymmetric(low * down, high * up) for up in SHRINK for down in (SHRINK if low < 0 else (1.0,))}
    return min(sorted(candidates, reverse=True), key=lambda candidate: mean_squared_error(seen, candidate))


def asymmetric(low: float, high: float) -> Range:
    """The uint8 range from `low` ≤ 0 to `high` ≥ 0, its zero point rounded to an integer."""
    scale = (high - low) / LEVELS
    if scale < SMALLEST:
        return Range(1.0, 0)
    # Scales travel as float32: round here, so that what is judged is what is stored.
    return Range(float(np.float32(NEXT_TO_1 if scale == 1 else scale)), round(-low / scale))


def symmetric(peak: float) -> Range:
    """The int8 range from -`peak` to `peak`."""
    return Range(float(np.float32(peak / SIGNED_LEVELS)), 0, signed=True)


def mean_squared_error(seen: Spread, candidate: Range) -> float:
    """Of the values of `seen` against what they are after quantisation, by their weights."""
    lowest, highest = (-SIGNED_LEVELS, SIGNED_LEVELS) if candidate.signed else (0, LEVELS)
    quantised = np.clip(np.rint(seen.values / candidate.scale) + candidate.zero_point, lowest, highest)
    restored = (quantised - candidate.zero_point) * candidate.scale
    return float(np.average((seen.values - restored) ** 2, weights=seen.weights))
