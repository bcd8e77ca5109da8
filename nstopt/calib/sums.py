"""Convolutions that write INT8 for the norm behind them.

    Conv(w) ─ InstanceNormalization   ⇒   Conv(w · f, -c · f) ─ Q ─ DQ ─ InstanceNormalization        f, c per channel

A norm subtracts any constant from a channel and divides any positive factor out of it, so each channel may be shifted
and scaled until all of them fill one range of 8 bits. Convolution and norm then move a quarter of the bytes of FP32, or
half of those of BF16. Without the factors, the channel of the largest range decides for all.

The factors have a geometric mean of 1, so that a norm's epsilon keeps its effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nstopt.calib.observe import Histogram
from nstopt.calib.ranges import LEVELS, SHRINK, SIGNED_LEVELS, QuantParams
from nstopt.graph.nodes import clone, groups, initializers, multiplying, read_by_norms

Array = NDArray[Any]
# Every second row and column is enough for a range, and takes a quarter of the time.
STEP = 2
# Share of the mean range below which a channel counts as constant.
CONSTANT = 1e-6


class SumRange(NamedTuple):
    """The 8-bit range of a convolution's sums: `low` [C] and `high` [C] per channel."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def center(self) -> NDArray[np.float64]:
        """The number that is subtracted from each channel, [C]."""
        return (self.low + self.high) / 2

    @property
    def params(self) -> QuantParams:
        """The range that all channels share once they are scaled by `factors`."""
        return QuantParams(float(np.float32(np.exp(np.log(self._scales).mean()))), 0, signed=True)

    @property
    def factors(self) -> NDArray[np.float64]:
        """The factor of each channel, [C]."""
        return np.asarray(self.params.scale / self._scales, np.float64)

    @property
    def _scales(self) -> NDArray[np.float64]:
        """The scale that each channel alone would have, [C]."""
        widths = self.high - self.low
        smallest = widths.mean() * CONSTANT
        return np.where(widths > smallest, widths, widths.mean() or 1.0) / LEVELS


class SumHistogram(Histogram):
    """Histogram of a convolution's sums."""

    def add(self, values: NDArray[np.float32]) -> None:
        """Count a quarter of the values [N, C, H, W]. Raises ValueError if one of them is not finite."""
        super().add(values[:, :, ::STEP, ::STEP])


def normed_sums(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the layers that write for norms alone, with the tensor that they write, in graph order. Grouped transposed
    convolutions are left out, since no axis of their weights is the output channel."""
    normed = read_by_norms(graph)
    layers = [node for node in multiplying(graph) if node.op_type == "Conv" or groups(node) == 1]
    return {node.name: node.output[0] for node in layers if node.output[0] in normed}


def sum_range(histogram: Histogram) -> SumRange:
    """Return the range of each channel that rounds its values with the smallest mean squared error. Both ends shrink
    towards the mean by one factor."""
    counts, values = histogram.counts, histogram.centers
    mean = ((counts * values).sum(axis=1) / counts.sum(axis=1))[:, None]
    best_error, best = np.full(len(counts), np.inf), np.ones(len(counts))
    for shrink in SHRINK:
        low, high = (mean + shrink * (end[:, None] - mean) for end in (histogram.low, histogram.high))
        scale = np.maximum((high - low) / LEVELS, np.finfo(np.float64).tiny)
        center = (low + high) / 2
        integers = np.clip(np.rint((values - center) / scale), -SIGNED_LEVELS - 1, SIGNED_LEVELS)
        error = (counts * (values - center - integers * scale) ** 2).sum(axis=1)
        best, best_error = np.where(error < best_error, shrink, best), np.minimum(error, best_error)
    low, high = (mean[:, 0] + best * (end - mean[:, 0]) for end in (histogram.low, histogram.high))
    return SumRange(low, high)


def fill_ranges(model: onnx.ModelProto, ranges: Mapping[str, SumRange]) -> onnx.ModelProto:
    """Return a copy of FP32 `model` that computes the same function, whose layers, by name, write channels that fill
    the range of `SumRange.params`."""
    copy = clone(model)
    known = initializers(copy.graph)
    for node in multiplying(copy.graph):
        if (found := ranges.get(node.name)) is None:
            continue
        weight: Array = known[node.input[1]]
        bias: Array = known[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(len(found.low))
        shape = (-1, 1, 1, 1) if node.op_type == "Conv" else (1, -1, 1, 1)
        written = {"weight": weight * found.factors.reshape(shape), "bias": (bias - found.center) * found.factors}
        del node.input[1:]
        for what, array in written.items():
            node.input.append(f"{node.name}.filling.{what}")
            copy.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), node.input[-1]))
    return copy
