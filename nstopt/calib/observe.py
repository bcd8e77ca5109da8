"""Activations of a graph over calibration pictures, kept as histograms: memory does not grow with the pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

BINS = 8192


class Histogram:
    """Counts of float values over [-R, R), R a power of two that doubles when a larger value comes.

    Doubling merges neighbouring bins, so nothing seen before is lost and one pass over the data is enough. `low` and
    `high` are the exact extremes.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.radius = 2.0**-10
        self.low = np.inf
        self.high = -np.inf

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the values of an array of any shape. Raises ValueError if one of them is not finite."""
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise ValueError("activations are not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        while max(-self.low, self.high) >= self.radius:
            self._double()
        index = ((values.ravel() + self.radius) * (BINS / (2 * self.radius))).astype(np.int32)
        self.counts += np.bincount(np.minimum(index, BINS - 1), minlength=BINS)

    def _double(self) -> None:
        quarter = BINS // 4
        merged = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.pad(merged, quarter)
        self.radius *= 2

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        width = 2 * self.radius / BINS
        return np.asarray((np.arange(BINS) + 0.5) * width - self.radius, np.float64)


def observe(
    model: onnx.ModelProto, tensors: Iterable[str], pictures: Iterable[NDArray[np.uint8]], batch: int = 1
) -> dict[str, Histogram]:
    """Run FP32 `model` (I/O contract) on each picture, uint8 [H, W, 3], and count the values of the named tensors.

    A model of a fixed `batch` sees each picture that many times. Raises ValueError if a value is not finite.
    """
    watched = onnx.ModelProto.FromString(model.SerializeToString())
    inputs = {value.name for value in watched.graph.input}
    histograms = {name: Histogram() for name in tensors}
    names = [name for name in histograms if name not in inputs]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    for picture in pictures:
        feed = {session.get_inputs()[0].name: np.repeat(picture[None], batch, axis=0)}
        for name, values in zip(names, session.run(names, feed), strict=True):
            histograms[name].add(values)
    return histograms
