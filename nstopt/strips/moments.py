"""Mean and variance of each channel over a whole picture, from parts of it.

The parts are joined in float64 by the formula of Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise
algorithm for computing sample variances" (equations 2.1): it does not subtract large sums from each other, so that the
result does not depend on the parts beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from nstopt.graph.statistics import NORM

# Numbers that are summed in float32 at a time: they stay in a core's cache.
CHUNK = 1 << 17
Channels = NDArray[np.float64]
# Pixel count, mean [C], sum of squared differences from the mean [C].
Part = tuple[int, Channels, Channels]


class Moments:
    """Pixel count, mean [C] and sum of squared differences from the mean [C] of the parts added so far."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean: Channels = np.zeros(channels)
        self.squares: Channels = np.zeros(channels)

    def add(self, part: NDArray[np.float32], pool: Executor) -> None:
        """Add a part [H, W, C], whose pixels the threads of `pool` share."""
        pixels = part.reshape(-1, part.shape[-1])
        many = max(1, CHUNK // part.shape[-1])
        for one in pool.map(_moments, (pixels[first : first + many] for first in range(0, len(pixels), many))):
            self.count, self.mean, self.squares = _joined((self.count, self.mean, self.squares), one)

    def values(self, operator: str) -> tuple[NDArray[np.float32], ...]:
        """Return what `operator` (graph/statistics.py) computes from a tensor of these moments, each float32 [C]."""
        return tuple(value.astype(np.float32) for value in VALUES[operator](self))

    @property
    def variance(self) -> Channels:
        """The mean of squared differences from the mean."""
        return self.squares / self.count

    @property
    def sum_of_squares(self) -> Channels:
        """The sum of squares."""
        return self.squares + self.count * self.mean**2


VALUES: dict[str, Callable[[Moments], tuple[Channels, ...]]] = {
    NORM: lambda one: (one.mean, one.variance),
    "GlobalAveragePool": lambda one: (one.mean,),
    "ReduceMean": lambda one: (one.mean,),
    "ReduceSum": lambda one: (one.count * one.mean,),
    "ReduceSumSquare": lambda one: (one.sum_of_squares,),
    "ReduceL2": lambda one: (np.sqrt(one.sum_of_squares),),
}


def _joined(left: Part, right: Part) -> Part:
    """Return the moments of two parts together."""
    (n, mean, squares), (m, other, others) = left, right
    delta = other - mean
    return n + m, mean + delta * (m / (n + m)), squares + others + delta**2 * (n * m / (n + m))


def _moments(pixels: NDArray[np.float32]) -> Part:
    """Return the moments of a part [pixels, C] that is small enough for sums in float32."""
    ones = np.ones(len(pixels), np.float32)
    mean = (ones @ pixels) / np.float32(len(pixels))
    differences = pixels - mean
    rest = (ones @ differences).astype(np.float64)  # what rounding the mean left
    squares = (ones @ np.square(differences, out=differences)).astype(np.float64)
    return len(pixels), mean + rest / len(pixels), squares - rest**2 / len(pixels)
