"""The time that a layer takes at each of its levels on this machine."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnx

import nstopt
from nstopt.calib.cache import key
from nstopt.calib.placeholder import quantize_with_placeholders
from nstopt.calib.search import LEVEL_COST, LevelCost
from nstopt.engines.backend import Backend
from nstopt.files import cache_folder, write_atomically
from nstopt.graph.examples import transposed_conv, wide_conv
from nstopt.pipeline.lower import finish, int8_inputs
from nstopt.precisions import between

# A residual convolution of a style net at 256x256, and its last doubling, each with the norm behind it.
EXAMPLES = {
    "Conv": wide_conv((128, 128, 3, 3, 64, 64)),
    "ConvTranspose": transposed_conv((64, 32, 4, 4, 128, 128)),
}

ROUNDS = 40
# Usual time of a convolution with 16-bit floats relative to INT8, where it is not measured.
HALF_COST = 2.0


@functools.cache
def level_cost(backend: Backend, precision: str) -> LevelCost:
    """Return the time of each level relative to INT8 by operator, the exact level last.

    It is measured once on a machine and rounded to halves, so that noise does not change the engine. Two kinds of
    backends get the usual costs: those where compiling takes long, and those that do not compute INT8 in INT8 here,
    which stand for others."""
    exact = between(precision)
    usual = {"int8": 1.0, "int8x2": 2.0, exact: LEVEL_COST["Conv"]["fp32"] if exact == "fp32" else HALF_COST}
    usual = {level: cost for level, cost in usual.items() if level not in backend.avoided()}
    if backend.capabilities.judge or not backend.is_native(precision):
        return dict.fromkeys(EXAMPLES, usual)
    file = cache_folder() / "levels" / key((nstopt.__version__, backend.identity(), precision, *usual))
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, float]])
    found = {operator: _measured(backend, precision, model, list(usual)) for operator, model in EXAMPLES.items()}
    _keep(found, file)
    return found


def _keep(found: LevelCost, file: Path) -> None:
    """Store measured costs. A cache that cannot be written costs time later, and nothing else."""
    with contextlib.suppress(OSError):
        write_atomically(file, msgspec.json.encode(found))


def _measured(backend: Backend, precision: str, model: onnx.ModelProto, levels: list[str]) -> Mapping[str, float]:
    model = onnx.shape_inference.infer_shapes(model)
    inputs = int8_inputs(backend)
    graphs = [finish(quantize_with_placeholders(model, inputs, {"layer": level}), precision) for level in levels]
    port = model.graph.input[0]
    feed = {port.name: np.ones([dim.dim_value for dim in port.type.tensor_type.shape.dim], np.float32)}
    times = backend.measure([graph.SerializeToString() for graph in graphs], precision, feed, ROUNDS)
    return {level: round(2 * time / times[0]) / 2 for level, time in zip(levels, times, strict=True)}
