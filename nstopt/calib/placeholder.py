"""INT8 with placeholder ranges, for measuring and projecting speed: no time depends on a range."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from nstopt.calib.int8 import INT8_OUT, quantize, quantized_tensors
from nstopt.calib.ranges import Distribution, Int8Inputs, min_max_range, symmetric
from nstopt.calib.sums import normed_sums

# Values as a ReLU leaves them.
ANY_VALUES = Distribution(np.array([0.0, 8.0]), np.ones(2), 0.0, 8.0)


def quantize_with_placeholders(
    model: onnx.ModelProto, inputs: Int8Inputs, levels: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """Return a copy of FP32 `model` whose convolutions multiply INT8, on the grids that `inputs` allows, and write INT8
    for norms that accept it, unless `levels` has another level for them."""
    tensors = quantized_tensors(model.graph).items()
    ranges = {name: min_max_range(ANY_VALUES, inputs.scheme(readers)) for name, readers in tensors}
    written = normed_sums(model.graph) if inputs.norms else {}
    ranges |= dict.fromkeys(written.values(), symmetric(ANY_VALUES.high))
    return quantize(model, ranges, {**dict.fromkeys(written, INT8_OUT), **(levels or {})})
