"""Histogram → the range that 8 bits cover.

The MSE range minimizes the mean squared error of the quantized activations over the calibration pictures; the min-max
range spans all values. Clipping at a fixed percentile instead costs style nets up to 15 dB: their few large activations
carry the picture.

Where the zero point must be 0, the output of a ReLU would use half of int8. Quantizing x - c instead, with c the middle
of the range, uses all of it. The convolution's output then lacks c times the sum of its weights, a constant per channel
that its bias adds back exactly (see int8.py).
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
from nstopt.graph.nodes import attribute

LEVELS = 255
SIGNED_LEVELS = 127
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # a tensor that needs a smaller one counts as 0
# OpenVINO drops a scale of exactly 1, which the input picture has, and with it the INT8 kernel.
NEXT_TO_1 = float(np.nextafter(np.float32(1), np.float32(2)))
# Factors by which the MSE search shrinks either end of the range.
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
    """The INT8 inputs that a backend's layers accept. Convolutions: any zero point for the operators of
    `free_zero_point`, 0 for all others; uint8 besides int8 if `unsigned`; int8 of x - c where there is no uint8, unless
    `offsets` is False. Norms: int8 if `norms`."""

    free_zero_point: tuple[str, ...]
    unsigned: bool = True
    offsets: bool = True
    norms: bool = False

    def scheme(self, readers: Sequence[onnx.NodeProto]) -> QuantScheme:
        """Return the finest scheme that all convolutions that read a tensor accept."""
        if {node.op_type for node in readers} <= {*self.free_zero_point}:
            return QuantScheme.ASYMMETRIC
        if self.unsigned:
            return QuantScheme.UNSIGNED
        return QuantScheme.SHIFTED if self.offsets and all(map(_can_absorb_offset, readers)) else QuantScheme.SYMMETRIC


def _can_absorb_offset(node: onnx.NodeProto) -> bool:
    """Return True if subtracting a constant from the input changes the output by a constant per channel, once the
    node's own zero padding is written as a Pad before it.

    This does not hold for a transposed convolution: its outputs see different taps of the kernel.
    """
    return node.op_type == "Conv" and attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")


# Symmetric int8, as TensorRT requires it. It is the strictest form, so it runs on every backend.
SYMMETRIC = Int8Inputs((), unsigned=False)


class QuantParams(NamedTuple):
    """Parameters of real value = (integer - zero_point) * scale + offset, with an integer in 0..255 (uint8) or, if
    `signed`, in -128..127 (int8). `offset` is a multiple of the scale, so that 0 is exact."""

    scale: float
    zero_point: int
    signed: bool = False
    offset: float = 0.0

    @property
    def integers(self) -> tuple[int, int]:
        """The smallest and the largest integer."""
        return (-SIGNED_LEVELS - 1, SIGNED_LEVELS) if self.signed else (0, LEVELS)


# (low, high) → range.
MakeRange = Callable[[float, float], QuantParams]


class Distribution(NamedTuple):
    """Distribution of a tensor's values over all channels: `values` [K] and their `weights` [K]; `low` ≤ 0 ≤ `high` are
    the extremes."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    low: float
    high: float


def merge_channels(histogram: Histogram, factors: NDArray[np.float64] | None = None) -> Distribution:
    """Merge the channels of a histogram, each divided by its factor; `factors` is [C], None for ones."""
    s = np.ones(len(histogram.counts)) if factors is None else factors
    low, high = min(float((histogram.low / s).min()), 0.0), max(float((histogram.high / s).max()), 0.0)
    values = histogram.centers / s[:, None]
    weights = histogram.counts
    filled = weights > 0
    sums, edges = np.histogram(values[filled], MERGED_BINS, weights=weights[filled])
    centers = (edges[:-1] + edges[1:]) / 2
    return Distribution(centers[sums > 0], sums[sums > 0], low, high)


def mse_range(distribution: Distribution, scheme: QuantScheme = QuantScheme.ASYMMETRIC) -> QuantParams:
    """Return the range of smallest mean squared error. It always contains 0, which padding needs to be exact."""
    low, high, make = _ends(distribution, scheme)
    candidates = {make(low * down, high * up) for up in SHRINK for down in (SHRINK if low < 0 else (1.0,))}
    return min(sorted(candidates, reverse=True), key=lambda params: mean_squared_error(distribution, params))


def min_max_range(distribution: Distribution, scheme: QuantScheme = QuantScheme.ASYMMETRIC) -> QuantParams:
    """Return the range from the smallest to the largest value."""
    low, high, make = _ends(distribution, scheme)
    return make(low, high)


def _ends(distribution: Distribution, scheme: QuantScheme) -> tuple[float, float, MakeRange]:
    """Return the extremes of a distribution and the function that makes a range of two ends. For a symmetric range the
    lower end is 0 and not used."""
    low, high = distribution.low, distribution.high
    if scheme is QuantScheme.SYMMETRIC or (scheme is QuantScheme.UNSIGNED and low < 0):
        return 0.0, max(-low, high), lambda _, peak: symmetric(peak)
    return low, high, shifted if scheme is QuantScheme.SHIFTED else asymmetric


def asymmetric(low: float, high: float) -> QuantParams:
    """Return the uint8 range from `low` ≤ 0 to `high` ≥ 0, its zero point rounded to an integer."""
    scale = (high - low) / LEVELS
    if scale < SMALLEST_SCALE:
        return QuantParams(1.0, 0)
    # The graph stores scales as float32. Rounding here makes the search measure what is stored.
    return QuantParams(float(np.float32(NEXT_TO_1 if scale == 1 else scale)), round(-low / scale))


def symmetric(peak: float) -> QuantParams:
    """Return the int8 range from -`peak` to `peak`."""
    scale = peak / SIGNED_LEVELS
    return QuantParams(1.0 if scale < SMALLEST_SCALE else float(np.float32(scale)), 0, signed=True)


def shifted(low: float, high: float) -> QuantParams:
    """Return the int8 range of x - c from `low` ≤ 0 to `high` ≥ 0; it is as fine as the uint8 range."""
    scale, zero_point, *_ = asymmetric(low, high)
    offset = float(np.float32((SIGNED_LEVELS + 1 - zero_point) * scale))
    return QuantParams(scale, 0, signed=True, offset=offset)


def mean_squared_error(distribution: Distribution, params: QuantParams) -> float:
    """Return the weighted mean squared error that quantization adds to the values."""
    values = distribution.values
    integers = np.rint((values - params.offset) / params.scale) + params.zero_point
    restored = (np.clip(integers, *params.integers) - params.zero_point) * params.scale + params.offset
    return float(np.average((values - restored) ** 2, weights=distribution.weights))
