"""What INT8 has to know of a net on calibration pictures: gathered in one pass over them, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.calib.int8 import quantized_tensors
from nstopt.calib.observe import Histogram, Observer, observe
from nstopt.calib.rounding import Patches, kernel_seen
from nstopt.graph.nodes import groups, initializers, multiplying, read_by_norms


class CalibrationStats(NamedTuple):
    """The values of each tensor that is to be quantized, and the patches that each convolution of one group
    multiplies, by its name."""

    values: Mapping[str, Histogram]
    patches: Mapping[str, Patches]


def collect(model: onnx.ModelProto, pictures: Iterable[NDArray[np.uint8]], batch: int = 1) -> CalibrationStats:
    """Run FP32 `model` (I/O contract, convolutions named) on pictures, uint8 [H, W, 3], of its size.

    Raises ValueError if an activation is not finite."""
    tensors = quantized_tensors(model.graph)
    known, normed = initializers(model.graph), read_by_norms(model.graph)
    values = {name: Histogram() for name in tensors}
    patches = {
        node.name: Patches(kernel_seen(node, known[node.input[1]]), centered=node.output[0] in normed)
        for node in multiplying(model.graph)
        if groups(node) == 1
    }
    observers: dict[str, list[Observer]] = {
        name: [values[name], *(patches[node.name] for node in readers if node.name in patches)]
        for name, readers in tensors.items()
    }
    observe(model, observers, pictures, batch)
    return CalibrationStats(values, patches)
