"""Histogram → the range that 8 bits should cover.

The range minimizes the mean squared error of the quantized activations over the calibration pictures, or reaches from
the least to the largest value. Clipping a fixed percentile instead costs style nets up to 15 dB: their few large
activations carry the picture.

Where a zero point must be 0, what a ReLU gives would use half of int8. Quantizing x - c instead, with c the middle of
the range, uses all of it; the convolution's output then lacks c times the sum of its weights, a constant per channel
that its bias gives back exactly (see int8.py).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
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


class QuantScheme(enum.Enum):
    """The integers that a tensor is rounded to."""

    ASYMMETRIC = "uint8, any zero point"
    UNSIGNED = "uint8 where no value is negative, else int8; zero point 0"
    SHIFTED = "int8 of x - c, zero point 0"
    SYMMETRIC = "int8, zero point 0"


@dataclass(frozen=True)
class Int8Inputs:
    """What a backend's INT8 convolutions take: any zero point (the operators of `free_zero_point` only), and uint8
    beside int8."""

    free_zero_point: tuple[str, ...]
    unsigned: bool = True

    def grid(self, readers: Sequence[onnx.NodeProto]) -> QuantScheme:
        """Of a tensor that these convolutions read."""
        if {node.op_type for node in readers} <= {*self.free_zero_point}:
            return QuantScheme.ASYMMETRIC
        if self.unsigned:
            return QuantScheme.UNSIGNED
        return QuantScheme.SHIFTED if all(map(_gives_a_constant_back, readers)) else QuantScheme.SYMMETRIC


def _gives_a_constant_back(node: onnx.NodeProto) -> bool:
    """Whether a constant taken off the input moves the output by a constant per channel, once zeros that the node pads
    by itself are written as a padding before it. A transposed convolution's outputs see different taps."""
    automatic = [attribute.s for attribute in node.attribute if attribute.name == "auto_pad"]
    return node.op_type == "Conv" and automatic in ([], [b"NOTSET"], [b"VALID"])


# Symmetric int8, as TensorRT has it: the strictest, hence what runs everywhere.
SYMMETRIC = Int8Inputs((), unsigned=False)


class QuantParams(NamedTuple):
    """Real value = (integer - zero_point) * scale + offset, with an integer in 0..255 (uint8) or, if `signed`, in
    -128..127 (int8). `offset` is a multiple of the scale, so that 0 is exact."""

    scale: float
    zero_point: int
    signed: bool = False
    offset: float = 0.0

    @property
    def integers(self) -> tuple[int, int]:
        """The least and the largest integer."""
        return (-SIGNED_LEVELS - 1, SIGNED_LEVELS) if self.signed else (0, LEVELS)


class Distribution(NamedTuple):
    """All channels of a tensor together: how much weight each value has. `low` ≤ 0 ≤ `high` are the extremes."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    low: float
    high: float


def merge_channels(histogram: Histogram, factors: NDArray[np.float64] | None = None) -> Distribution:
    """Merge the channels of a histogram, each divided by its `factors` [C]."""
    s = np.ones(len(histogram.counts)) if factors is None else factors
    low, high = min(float((histogram.low / s).min()), 0.0), max(float((histogram.high / s).max()), 0.0)
    values = histogram.centers / s[:, None]
    weights = histogram.counts
    filled = weights > 0
    sums, edges = np.histogram(values[filled], MERGED_BINS, weights=weights[filled])
    centers = (edges[:-1] + edges[1:]) / 2
    return Distribution(centers[sums > 0], sums[sums > 0], low, high)


def mse_range(seen: Distribution, grid: QuantScheme = QuantScheme.ASYMMETRIC) -> QuantParams:
    """The range of least mean squared error on a grid. It always contains 0, which padding needs to be exact."""
    low, high, make = _ends(seen, grid)
    candidates = {make(low * down, high * up) for up in SHRINK for down in (SHRINK if low < 0 else (1.0,))}
    return min(sorted(candidates, reverse=True), key=lambda candidate: mean_squared_error(seen, candidate))


def min_max_range(seen: Distribution, grid: QuantScheme = QuantScheme.ASYMMETRIC) -> QuantParams:
    """From the least to the largest value (min-max)."""
    low, high, make = _ends(seen, grid)
    return make(low, high)


def _ends(seen: Distribution, grid: QuantScheme) -> tuple[float, float, Callable[[float, float], QuantParams]]:
    """The ends of what was seen, and how a grid makes a range of two ends; a symmetric one takes only the upper."""
    if grid is QuantScheme.SYMMETRIC or (grid is QuantScheme.UNSIGNED and seen.low < 0):
        return 0.0, max(-seen.low, seen.high), lambda _, high: symmetric(high)
    return seen.low, seen.high, shifted if grid is QuantScheme.SHIFTED else asymmetric


def asymmetric(low: float, high: float) -> QuantParams:
    """The uint8 range from `low` ≤ 0 to `high` ≥ 0, its zero point rounded to an integer."""
    scale = (high - low) / LEVELS
    if scale < SMALLEST:
        return QuantParams(1.0, 0)
    # Scales travel as float32: round here, so that what is judged is what is stored.
    return QuantParams(float(np.float32(NEXT_TO_1 if scale == 1 else scale)), round(-low / scale))


def symmetric(peak: float) -> QuantParams:
    """The int8 range from -`peak` to `peak`."""
    scale = peak / SIGNED_LEVELS
    return QuantParams(1.0 if scale < SMALLEST else float(np.float32(scale)), 0, signed=True)


def shifted(low: float, high: float) -> QuantParams:
    """The int8 range of x - c from `low` ≤ 0 to `high` ≥ 0: as fine as the uint8 one."""
    scale, zero_point, *_ = asymmetric(low, high)
    offset = float(np.float32((SIGNED_LEVELS + 1 - zero_point) * scale))
    return QuantParams(scale, 0, signed=True, offset=offset)


def mean_squared_error(seen: Distribution, candidate: QuantParams) -> float:
    """Of the values of `seen` against what they are after quantization, by their weights."""
    integers = np.rint((seen.values - candidate.offset) / candidate.scale) + candidate.zero_point
    restored = (np.clip(integers, *candidate.integers) - candidate.zero_point) * candidate.scale + candidate.offset
    return float(np.average((seen.values - restored) ** 2, weights=seen.weights))
