"""The trials of the smoke test: TensorRT for RTX compiles them, and their numbers are right. What fails is avoided."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from nstopt import engines
from nstopt.calib.fp16 import to_fp16
from nstopt.calib.placeholder import quantize_with_placeholders
from nstopt.calib.ranges import Int8Inputs
from nstopt.engines import tensorrt
from nstopt.engines.tensorrt import BACKEND, avoided, smoke
from nstopt.engines.tensorrt.avoided import path_of, read_avoided, write_avoided
from nstopt.engines.tensorrt.graph_info import info_of
from nstopt.engines.tensorrt.lowering import ready
from nstopt.engines.tensorrt.smoke import TRIALS, Outcome, Trial, feed, run_smoke_test, wrong
from nstopt.errors import DeviceError
from nstopt.gpu.driver import GpuDevice, count_gpus
from nstopt.ort import session
from nstopt.pipeline.levels import level_cost
from nstopt.pipeline.lower import int8_inputs

GTX_1060 = GpuDevice("NVIDIA GeForce GTX 1060 6GB", (6, 1), 6.0, "580.1", "12.8")
NAMED = {trial.name: trial for trial in TRIALS}
REFLECTED = ("int8-reflected", "int8-reflected-after", "int8-fp16", "int8-fp16-scales")
named = pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)


def prepared(trial: Trial) -> bytes:
    return ready(trial.make().SerializeToString(), (8, 6), trial.forms)


@named
def test_a_trial_computes_what_its_fp32_graph_does(trial: Trial) -> None:
    """Of the same operators: INT8 and FP16 are as close as their rounding allows."""
    body = {"int8-transposed": smoke.TRANSPOSED, "int8-phase": smoke.TRANSPOSED, "int8-depthwise": smoke.DEPTHWISE}
    default = smoke.NORM if "norm" in trial.name else smoke.CONV
    default = smoke.REFLECTED if trial.name in REFLECTED else default
    exact = smoke._graph(body.get(trial.name, default)).SerializeToString()
    (found,) = session(prepared(trial)).run(None, feed())
    assert wrong(exact, found) == ""
    assert wrong(exact, found * 1.1).startswith("wrong numbers: ")


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
@named
def test_a_trial_compiles_in_the_types_of_the_graph(trial: Trial) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx-cu12, which there is for Linux on x86-64")
    from .compiler import CONVOLUTIONS, compile_for

    model = prepared(trial)
    log = compile_for(model, trial.precision)
    assert log.messages("WARNING", "ERROR", "INTERNAL_ERROR") == []
    found = [kernel.reads[0].type for kernel in log.kernels() if kernel.kind in CONVOLUTIONS]
    names = {"int8": "Int8", "fp16": "Half", "fp32": "Float"}
    expected = [names[one.reads[0]] for one in info_of(onnx.load_from_string(model)).convolutions.values()]
    assert found == expected or trial.name == "int8-transposed"  # this compiler has no such kernel


def test_what_fails_and_has_another_form_is_avoided() -> None:
    def outcomes(*failed: str) -> list[Outcome]:
        return [Outcome(trial, "why" if trial.name in failed else "") for trial in TRIALS]

    assert smoke.avoided(outcomes()) == frozenset()
    assert smoke.avoided(outcomes("int8x2", "int8-offset", "int8")) == {"int8x2", "int8-offset"}
    assert smoke.avoided(outcomes("norm")) == {"norm"}
    assert smoke.avoided(outcomes("norm", "own-norm")) == {"own-norm"}
    assert smoke.avoided(outcomes("int8-fp16")) == {"int8-fp16"}
    assert smoke.avoided(outcomes("int8-fp16", "int8-fp16-scales")) == {"int8-fp16-scales"}
    assert smoke.avoided(outcomes("int8-depthwise", "int8-reflected")) == {"int8-depthwise", "int8-reflected"}
    assert smoke.avoided(outcomes("int8", "int8-depthwise", "int8-reflected")) == frozenset()  # nothing would be INT8


def test_what_builds_do_is_said() -> None:
    def said(name: str, *failed: str) -> str:
        outcomes = [Outcome(trial, "why" if trial.name in (name, *failed) else "") for trial in TRIALS]
        return smoke.consequence(NAMED[name], outcomes)

    assert said("int8-depthwise") == "builds use floats for convolutions in groups"
    assert said("own-norm") == "builds leave it out"
    for name, other in (("norm", "own-norm"), ("int8-fp16", "int8-fp16-scales"), ("int8-depthwise", "int8")):
        assert said(name, other) == said("int8") == "builds use it all the same: no other form works here"


@pytest.fixture
def gtx_1060(monkeypatch: pytest.MonkeyPatch) -> GpuDevice:
    for module in (tensorrt, avoided, smoke):
        if hasattr(module, "installed"):
            monkeypatch.setattr(module, "installed", lambda: "8.6.0")
    monkeypatch.setattr("nstopt.engines.tensorrt.requirements.installed", lambda: "8.6.0")
    monkeypatch.setattr(tensorrt, "devices", lambda: (GTX_1060,))
    monkeypatch.setattr(smoke, "require_gpu", lambda action: GTX_1060)
    monkeypatch.setattr(tensorrt, "require_gpu", lambda action: GTX_1060)
    level_cost.cache_clear()
    return GTX_1060


def test_builds_avoid_what_failed(gtx_1060: GpuDevice) -> None:
    assert "without" not in BACKEND.identity()
    write_avoided(gtx_1060, frozenset({"int8x2", "int8-offset", "int8-transposed"}))
    try:
        assert int8_inputs(BACKEND) == Int8Inputs((), unsigned=False, offsets=False)
        assert level_cost(BACKEND, "int8") == {"Conv": {"int8": 1, "fp32": 4}, "ConvTranspose": {"int8": 1, "fp32": 4}}
        assert BACKEND.forms("int8")["transposed-conv"] == "phase"
        assert BACKEND.identity().endswith("sm_61 without int8-offset without int8-transposed without int8x2")
    finally:
        path_of(gtx_1060).unlink()
        level_cost.cache_clear()
    path_of(gtx_1060).write_text("damaged")
    assert read_avoided(gtx_1060) == frozenset()
    path_of(gtx_1060).unlink()


def test_ranges_without_offsets() -> None:
    model = smoke._graph(smoke.CONV)
    operators = [
        [node.op_type for node in quantize_with_placeholders(model, Int8Inputs((), False, offsets)).graph.node]
        for offsets in (True, False)
    ]
    assert ["Sub" in one for one in operators] == [True, False]


def test_a_gpu_that_can_build_nothing(gtx_1060: GpuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trial fails by itself; FP16 is not tried on Pascal, nor what TensorRT 8.6.0 does not have."""
    monkeypatch.setattr("nstopt.engines.tensorrt.build.WORKER", "no.such.module")
    outcomes = list(run_smoke_test(BACKEND))
    names = [one.trial.name for one in outcomes]
    assert names == ["fp32", "int8", *REFLECTED[:2], "int8-offset", "int8x2", "int8-phase", "int8-depthwise", "norm"]
    assert all("TensorRT's builder ended with status 1" in one.failure for one in outcomes)
    assert read_avoided(gtx_1060) == {"int8-offset", "int8-reflected-after", "int8x2"}
    path_of(gtx_1060).unlink()


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has an NVIDIA GPU")
def test_without_a_gpu() -> None:
    with pytest.raises(DeviceError, match="cannot run a smoke test with TensorRT: it needs an NVIDIA GPU"):
        next(run_smoke_test(BACKEND))
    assert engines.backend("tensorrt").avoided() == frozenset()


def test_the_trials_are_independent_of_chance() -> None:
    np.testing.assert_array_equal(feed()["x"], feed()["x"])
    assert NAMED["int8"].make() == NAMED["int8"].make()
    assert to_fp16(smoke._graph(smoke.CONV)) == NAMED["fp16"].make()
