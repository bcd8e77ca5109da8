"""Histograms of a graph's activations over calibration pictures, in memory that does not grow with the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.graph.nodes import clone
from nstopt.ort import session
from nstopt.pictures.files import Picture

BINS = 4096
SMALLEST_RADIUS = 2.0**-10


class Histogram:
    """Histogram of float values per channel: `counts` [C, BINS] over [-R, R), with a `radius` R per channel.

    R is a power of two and doubles when a larger value comes. Doubling merges neighboring bins, so that no count is
    lost and one pass over the data is enough. `low` and `high` [C] are the exact extremes.
    """

    def __init__(self) -> None:
        self._start(0)

    def _start(self, channels: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((channels, BINS), np.int64)
        self.radius: NDArray[np.float64] = np.full(channels, SMALLEST_RADIUS)
        self.low: NDArray[np.float64] = np.full(channels, np.inf)
        self.high: NDArray[np.float64] = np.full(channels, -np.inf)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values [N, C, ...]. Raises ValueError if one of them is not finite."""
        if not len(self.counts):
            self._start(values.shape[1])
        rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        low, high = rows.min(axis=1), rows.max(axis=1)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError("activations are not finite")
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self._widen()
        width = (2 * self.radius / BINS).astype(np.float32)[:, None]
        index = np.minimum((rows + self.radius.astype(np.float32)[:, None]) / width, BINS - 1).astype(np.int64)
        index += np.arange(len(rows))[:, None] * BINS
        self.counts += np.bincount(index.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    def _widen(self) -> None:
        """Double the radius of the channels that need it, until all values fit."""
        while (small := np.maximum(-self.low, self.high) >= self.radius).any():
            merged = self.counts[small].reshape(-1, BINS // 2, 2).sum(axis=2)
            self.counts[small] = np.pad(merged, ((0, 0), (BINS // 4, BINS // 4)))
            self.radius[small] *= 2

    @property
    def centers(self) -> NDArray[np.float64]:
        """The center of each bin, [C, BINS]."""
        unit = (np.arange(BINS) + 0.5) * (2 / BINS) - 1
        return self.radius[:, None] * unit


class Observer(Protocol):
    """Statistics of a tensor that take its values one picture after the other."""

    def add(self, values: NDArray[np.float32]) -> None:
        """Take values [N, C, H, W]."""
        ...


def observe(
    model: onnx.ModelProto,
    observers: Mapping[str, Sequence[Observer]],
    pictures: Iterable[Picture],
    batch: int = 1,
) -> None:
    """Run FP32 `model` (I/O contract) on each picture, uint8 [H, W, 3], and pass the values of NCHW tensors to their
    observers, listed by tensor name.

    A model of a fixed `batch` gets each picture that many times. Raises ValueError if a value is not finite.
    """
    watched = clone(model)
    names = list(observers)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    opened = session(watched.SerializeToString())
    for picture in pictures:
        feed = {opened.get_inputs()[0].name: np.repeat(picture[None], batch, axis=0)}
        for name, values in zip(names, opened.run(names, feed), strict=True):
            for observer in observers[name]:
                observer.add(values)
