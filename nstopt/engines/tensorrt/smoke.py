"""The smoke test of a GPU: one small graph of each kind that engines are made of, built, compared and run.

A trial passes if TensorRT builds it, computes its convolutions in the types of the graph, and gives the numbers that
ONNX Runtime gives for the same graph. Builds avoid the forms of trials that failed, where there is another form.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.calib.ranges import QuantParams, shifted, symmetric
from nstopt.engines.backend import BuildOptions
from nstopt.engines.tensorrt.avoided import write_avoided
from nstopt.engines.tensorrt.forms import DEFAULT, Forms
from nstopt.engines.tensorrt.layer_report import read_layers
from nstopt.engines.tensorrt.lowering import ready
from nstopt.engines.tensorrt.requirements import check_precision, check_types, has_own_norm, installed, require_gpu
from nstopt.errors import BuildError, DeviceError
from nstopt.files import cache_folder
from nstopt.graph.forms import choose_by_kind
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import rewrite
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pictures.size import Sizes

if TYPE_CHECKING:
    from nstopt.engines.tensorrt import TensorRTBackend
    from nstopt.gpu.driver import GpuDevice

CHANNELS, SIDE = 32, 32
LOW, HIGH = -1.0, 3.0
SYMMETRIC = symmetric(HIGH)
# Largest error relative to the largest result.
TOLERANCE = 0.02
GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
smoke (float[1, 32, 32, 32] x) => (float[N, C, H, W] y) {
    BODY
}
"""
CONV = "y = Conv<pads = [1, 1, 1, 1]>(x, weight)"
REFLECTED = 'padded = Pad<mode = "reflect">(x, pads)\n y = Conv(padded, weight)'
TRANSPOSED = "y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]>(x, taps)"
DEPTHWISE = "y = Conv<pads = [1, 1, 1, 1], group = 32>(x, single)"
NORM = "z = Conv<pads = [1, 1, 1, 1]>(x, weight)\n y = InstanceNormalization(z, gain, shift)"


class Trial(NamedTuple):
    """A graph in a precision. `instead` says what builds do if it fails, where the trial `needs` has passed; empty if
    they have no other form."""

    name: str
    precision: str
    make: Callable[[], onnx.ModelProto]
    instead: str = ""
    needs: str = ""
    forms: Forms = DEFAULT


class Outcome(NamedTuple):
    """The outcome of a trial: `failure` is empty if it passed. `kernels` lists kind and types of those that
    multiply."""

    trial: Trial
    failure: str
    kernels: tuple[str, ...] = ()


def _graph(body: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(GRAPH.replace("BODY", body))
    random = np.random.default_rng(0)
    shapes = {"weight": (CHANNELS, CHANNELS, 3, 3), "taps": (CHANNELS, CHANNELS, 4, 4), "single": (CHANNELS, 1, 3, 3)}
    arrays: dict[str, NDArray[Any]] = {name: random.normal(0, 0.1, shape) for name, shape in shapes.items()}
    arrays |= {"gain": random.normal(1, 0.1, CHANNELS), "shift": random.normal(0, 0.1, CHANNELS)}
    constants = {name: array.astype(np.float32) for name, array in arrays.items()}
    constants["pads"] = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(constants[name], name) for name in constants if name in read)
    name_convolutions(model)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _int8(body: str, params: QuantParams = SYMMETRIC, level: str = "int8", form: str = "plain") -> onnx.ModelProto:
    model = rewrite(_graph(body), choose_by_kind({"transposed-conv": form})).model
    levels = {node.name: level for node in model.graph.node}
    return quantize(model, dict.fromkeys(quantized_tensors(model.graph), params), levels)


def _int8_fp16() -> onnx.ModelProto:
    return to_int8_fp16(_int8(REFLECTED))


TRIALS = (
    Trial("fp32", "fp32", partial(_graph, CONV)),
    Trial("fp16", "fp16", lambda: to_fp16(_graph(CONV))),
    Trial("int8", "int8", partial(_int8, CONV)),
    Trial("int8-reflected", "int8", partial(_int8, REFLECTED), "INT8 reflections, or floats behind them", "int8"),
    Trial("int8-reflected-after", "int8", partial(_int8, REFLECTED), forms=Forms(reflects_int8=True)),
    Trial("int8-offset", "int8", partial(_int8, CONV, shifted(LOW, HIGH)), instead="ranges without offsets"),
    Trial("int8x2", "int8", partial(_int8, CONV, level="int8x2"), instead="FP32 for layers that need it"),
    Trial("int8-transposed", "int8", partial(_int8, TRANSPOSED), instead="the phase form"),
    Trial("int8-phase", "int8", partial(_int8, TRANSPOSED, form="phase")),
    Trial("int8-depthwise", "int8", partial(_int8, DEPTHWISE), "floats for convolutions in groups", "int8"),
    Trial("int8-fp16", "int8-fp16", _int8_fp16, "FP16 scales", "int8-fp16-scales"),
    Trial("int8-fp16-scales", "int8-fp16", _int8_fp16, forms=Forms(half_scales=True)),
    Trial("norm", "fp32", partial(_graph, NORM), "TensorRT's own norm", "own-norm"),
    Trial("norm-fp16", "fp16", lambda: to_fp16(_graph(NORM))),
    Trial("own-norm", "fp32", partial(_graph, NORM), forms=Forms(own_norms=True)),
)


def run_smoke_test(backend: TensorRTBackend) -> Iterator[Outcome]:
    """Try every trial that this GPU and TensorRT have; at the end, keep what builds shall avoid. Raises DeviceError
    without a GPU."""
    device = require_gpu("run a smoke test")
    outcomes = []
    for trial in filter(partial(_has, device), TRIALS):
        outcomes.append(_try(backend, device, trial))
        yield outcomes[-1]
    write_avoided(device, avoided(outcomes))


def avoided(outcomes: list[Outcome]) -> frozenset[str]:
    """Return the names of the failed trials that builds have another form for, and of the failed forms that `--tune`
    need not try."""
    passed = {one.trial.name for one in outcomes if not one.failure} | {""}
    failed = [one.trial for one in outcomes if one.failure]
    return frozenset(one.name for one in failed if one.forms != DEFAULT or (one.instead and one.needs in passed))


def consequence(trial: Trial, outcomes: list[Outcome]) -> str:
    """Say what builds do after a trial that failed."""
    if trial.forms != DEFAULT:
        return "builds leave it out"
    is_avoided = trial.name in avoided(outcomes)
    return f"builds use {trial.instead}" if is_avoided else "builds use it all the same: no other form works here"


def feed() -> dict[str, NDArray[np.float32]]:
    """Return the input of every trial."""
    shape = (1, CHANNELS, SIDE, SIDE)
    return {"x": np.random.default_rng(1).uniform(LOW, HIGH, shape).astype(np.float32)}


def _has(device: GpuDevice, trial: Trial) -> bool:
    version = str(installed())
    try:
        check_precision(device, trial.precision, force=False)
        check_types(version, trial.precision)
        ready(trial.make().SerializeToString(), device.sm, trial.forms)
    except BuildError:
        return False
    return not trial.forms.own_norms or has_own_norm(version)


def _try(backend: TensorRTBackend, device: GpuDevice, trial: Trial) -> Outcome:
    model = trial.make().SerializeToString()
    options = BuildOptions(evidence=cache_folder() / f"smoke-{trial.name}.failed")
    kernels: tuple[str, ...] = ()
    try:
        with tempfile.TemporaryDirectory(prefix="nstopt-") as temporary:
            folder, shape = Path(temporary), InputShape(None, Sizes())
            plan = backend.plan(model, device, trial.precision, shape, folder, cache_folder(), options, trial.forms)
            report = read_layers((folder / "layers.json").read_text(), {})
            kernels = tuple(f"{one.kind} {one.reads} → {one.writes}" for one in report.values() if one.multiplies)
            from nstopt.engines.tensorrt.session import Session  # imports tensorrt, which the build has found

            (found,) = Session((folder / "engine.plan").read_bytes())(feed())
    except (BuildError, DeviceError) as error:
        return Outcome(trial, str(error), kernels)
    return Outcome(trial, "; ".join(plan.types.differences) or wrong(model, found), kernels)


def wrong(model: bytes, found: NDArray[Any]) -> str:
    """Say how far `found` is from what ONNX Runtime computes; empty if it is close enough."""
    (expected,) = session(model).run(None, feed())
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    return "" if error <= TOLERANCE else f"wrong numbers: {error:.1%} of the largest result"
