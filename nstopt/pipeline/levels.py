"""The time that a layer takes at each of its levels on this machine."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import onnx

from nstopt.calib.placeholder import quantize_with_placeholders
from nstopt.calib.search import LEVEL_COST
from nstopt.engines.base import Backend
from nstopt.graph.examples import wide_conv
from nstopt.pipeline.lower import finish, int8_inputs
from nstopt.precisions import between

# The residual convolutions of a style net at 256x256, which have most of its multiply-adds.
SHAPE = (128, 128, 3, 3, 64, 64)


@functools.cache
def level_cost(backend: Backend, precision: str) -> Mapping[str, float]:
    """Return the time of each level relative to INT8, the exact level last.

    It is measured on a convolution and rounded to halves, so that noise does not change the engine. A backend that does
    not compute INT8 in INT8 here stands for one that does, and gets the usual costs."""
    exact = between(precision)
    usual = {"int8": 1.0, "int8x2": LEVEL_COST["int8x2"], exact: LEVEL_COST["fp32"]}
    if not backend.is_native(precision):
        return usual
    model = onnx.shape_inference.infer_shapes(wide_conv(SHAPE))
    inputs = int8_inputs(backend)
    graphs = [finish(quantize_with_placeholders(model, inputs, {"layer": level}), precision) for level in usual]
    port = model.graph.input[0]
    feed = {port.name: np.ones([dim.dim_value for dim in port.type.tensor_type.shape.dim], np.float32)}
    times = backend.measure([graph.SerializeToString() for graph in graphs], precision, feed)
    return {level: max(round(2 * time / times[0]) / 2, 1.0) for level, time in zip(usual, times, strict=True)}
