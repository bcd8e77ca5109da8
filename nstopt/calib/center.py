"""Center what convolutions write for norms, so that BF16 rounds smaller numbers.

    Conv(w) ─ InstanceNormalization   ⇒   Conv(w, -mean) ─ InstanceNormalization

A norm subtracts the mean of each channel, so a bias before it changes nothing. But BF16 rounds relative to a number's
size, and channels before norms have means as large as their standard deviations. The bias costs no time: a convolution
adds it before it rounds.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nstopt.calib.observe import observe
from nstopt.graph.nodes import clone, multiplying, read_by_norms
from nstopt.pictures.files import Picture


class ChannelMeans:
    """Mean of each channel over all values [N, C, ...] that it is given; as many values at a time."""

    def __init__(self) -> None:
        self._means: list[NDArray[np.float64]] = []

    def add(self, values: NDArray[np.float32]) -> None:
        self._means.append(values.mean(axis=(0, *range(2, values.ndim)), dtype=np.float64))

    @property
    def value(self) -> NDArray[np.float32]:
        """The mean of each channel, [C]."""
        return np.asarray(np.mean(self._means, axis=0), np.float32)


def center(model: onnx.ModelProto, pictures: Iterable[Picture], batch: int = 1) -> onnx.ModelProto:
    """Return a copy of FP32 `model` (I/O contract, convolutions named) whose convolutions before norms write channels
    with a mean of about 0 on pictures, uint8 [H, W, 3], of its size. A model without such norms stays as it is."""
    model = clone(model)
    normed = read_by_norms(model.graph)
    found = {node.output[0]: node for node in multiplying(model.graph) if node.output[0] in normed}
    if not found:
        return model
    means = {name: ChannelMeans() for name in found}
    observe(model, {name: [one] for name, one in means.items()}, pictures, batch)
    for name, node in found.items():
        if len(node.input) > 2:  # a bias that the rewrites could not remove
            continue
        node.input.append(f"{node.name}.center")
        model.graph.initializer.append(numpy_helper.from_array(-means[name].value, node.input[2]))
    return model
