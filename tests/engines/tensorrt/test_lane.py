"""A single lane on doubles of cuda-python and tensorrt; and the double of tensorrt against its recorded API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nstopt.errors import DeviceError

from .conftest import SMALL, Host, model, stylized
from .host_tensorrt import ICudaEngine, IExecutionContext, ILogger, IProfiler, Runtime, plan_of

SURFACES: dict[str, Any] = json.loads(Path(__file__).with_name("surfaces.json").read_text())
SHAPE = (1, *SMALL, 3)
PICTURE = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def open_plan(host: Host, profiles: list[tuple[int, ...]] | None = None) -> tuple[Any, Any]:
    """Return an ICudaEngine and its runtime."""
    plan = plan_of(model(1, "h", "w"), profiles) if profiles else plan_of(model())
    opened: tuple[Any, Any] = host.ours["engine"].deserialize(plan, "a plan")
    return opened


def lane_of(host: Host, engine: Any, profile: int = 0, **options: Any) -> Any:
    return host.ours["lane"].Lane(engine, {"image": SHAPE}, profile, **options)


@pytest.mark.parametrize("version", list(SURFACES))
def test_the_double_has_only_members_of_tensorrt(version: str) -> None:
    for kind in (Runtime, ICudaEngine, IExecutionContext, ILogger, IProfiler):
        recorded = SURFACES[version]["classes"][kind.__name__]
        offered = {name for name in vars(kind) if not name.startswith("_")}
        assert offered <= {*recorded, "Severity"}, kind


@pytest.mark.parametrize("use_graph", [True, False])
def test_a_lane_runs(host: Host, use_graph: bool) -> None:
    engine, _runtime = open_plan(host)
    lane = lane_of(host, engine, use_graph=use_graph)
    assert lane.graph_note == ("" if use_graph else "not asked for")
    for turned in (PICTURE, PICTURE[:, ::-1]):
        np.testing.assert_array_equal(lane({"image": turned})[0], stylized(np.ascontiguousarray(turned)))
    assert host.cuda.calls["cudaGraphLaunch"] == (2 if use_graph else 0)
    lane.close()
    assert host.cuda.alive() == {"engine": 1}


def test_a_run_is_asynchronous(host: Host) -> None:
    engine, _runtime = open_plan(host)
    lane = lane_of(host, engine)
    made = lane.host["stylized"].array
    lane.host["image"].array[:], made[:] = PICTURE, 0
    with host.cuda.held():
        lane.start()
        assert not made.any()
    lane.finish()
    np.testing.assert_array_equal(made, stylized(PICTURE))
    lane.close()


@pytest.mark.parametrize("name", ["capture", "cudaStreamBeginCapture", "cudaGraphInstantiate"])
def test_the_note_says_why_there_is_no_graph(host: Host, name: str) -> None:
    engine, _runtime = open_plan(host)
    host.cuda.fail(name, "cudaErrorStreamCaptureUnsupported")
    lane = lane_of(host, engine)
    assert "a CUDA graph: cudaErrorStreamCaptureUnsupported: operation not permitted when" in lane.graph_note
    np.testing.assert_array_equal(lane({"image": PICTURE})[0], stylized(PICTURE))
    lane.close()


def test_tensorrt_may_refuse_to_be_captured(host: Host) -> None:
    engine, _runtime = open_plan(host)
    host.cuda.fail("execute_async_v3", "cudaErrorStreamCaptureUnsupported", skip=1)
    lane = lane_of(host, engine)
    assert lane.graph_note.startswith("the GPU failed while starting the engine: cudaErrorStreamCaptureUnsupported:")
    np.testing.assert_array_equal(lane({"image": PICTURE})[0], stylized(PICTURE))
    lane.close()


@pytest.mark.parametrize(
    ("name", "skip", "message"),
    [
        ("cudaStreamCreateWithFlags", 0, "making a stream: cudaErrorMemoryAllocation: out of memory"),
        ("create_execution_context", 0, "cannot make an execution context: not enough GPU memory"),
        ("cudaHostAlloc", 0, "allocating 2304 bytes of host memory: cudaErrorMemoryAllocation"),
        ("cudaMalloc", 0, "allocating 2304 bytes: cudaErrorMemoryAllocation"),
        ("cudaMalloc", 1, "allocating 2304 bytes: cudaErrorMemoryAllocation"),
        ("cudaMemcpyAsync", 1, "copying from the GPU: cudaErrorMemoryAllocation"),
        ("execute_async_v3", 0, "starting the engine: cudaErrorMemoryAllocation"),
        ("kernel", 0, "running the engine: cudaErrorMemoryAllocation"),
    ],
)
def test_a_failed_lane_leaves_nothing(host: Host, name: str, skip: int, message: str) -> None:
    engine, _runtime = open_plan(host)
    host.cuda.fail(name, "cudaErrorMemoryAllocation", skip)
    with pytest.raises(DeviceError, match=message):
        lane_of(host, engine)
    assert host.cuda.alive() == {"engine": 1}
    assert host.ours["cuda"].take_error() == ""
    lane = lane_of(host, engine)
    np.testing.assert_array_equal(lane({"image": PICTURE})[0], stylized(PICTURE))
    lane.close()


def test_shapes_and_profiles_that_tensorrt_refuses(host: Host) -> None:
    engine, _runtime = open_plan(host, [SHAPE, (1, 32, 32, 3), SHAPE])
    with pytest.raises(DeviceError, match="TensorRT refuses optimization profile 7"):
        lane_of(host, engine, 7)
    with pytest.raises(DeviceError, match=r"TensorRT refuses the shape \[1, 24, 32, 3\] for 'image'"):
        lane_of(host, engine, 1)
    first, second = lane_of(host, engine, 0), lane_of(host, engine, 0)
    host.trt.__version__ = "8.5.3.1"
    with pytest.raises(DeviceError, match="TensorRT refuses optimization profile 0"):
        lane_of(host, engine, 0)
    third = lane_of(host, engine, 2)
    for lane in (first, second, third):
        np.testing.assert_array_equal(lane({"image": PICTURE})[0], stylized(PICTURE))
        lane.close()


def test_contexts_share_one_profile(host: Host) -> None:
    """Every context after the first must set the profile."""
    engine, _runtime = open_plan(host, [SHAPE])
    lanes = [lane_of(host, engine), lane_of(host, engine)]
    for lane in lanes:
        lane.close()


def test_close_waits_for_the_stream(host: Host) -> None:
    engine, _runtime = open_plan(host)
    lane = lane_of(host, engine)
    lane.start()
    lane.close()
    assert host.cuda.alive() == {"engine": 1}


def test_copies_are_timed(host: Host) -> None:
    engine, _runtime = open_plan(host)
    lane = lane_of(host, engine)
    split = lane.split()
    assert min(split) > 0
    assert "event" not in host.cuda.alive()
    host.cuda.fail("execute_async_v3", "cudaErrorLaunchFailure")
    with pytest.raises(DeviceError, match="starting the engine: cudaErrorLaunchFailure: unspecified launch failure"):
        lane.split()
    assert "event" not in host.cuda.alive()
    lane.close()


def test_a_session_runs_any_graph(host: Host) -> None:
    session = host.ours["session"].Session(plan_of(model()))
    for _ in range(2):
        np.testing.assert_array_equal(session({"image": PICTURE})[0], stylized(PICTURE))
    assert host.cuda.alive()["context"] == 1
    host.cuda.fail("kernel", "cudaErrorLaunchFailure")
    with pytest.raises(DeviceError, match="running the engine: cudaErrorLaunchFailure"):
        session({"image": PICTURE})
    assert host.cuda.alive() == {"engine": 1}
    np.testing.assert_array_equal(session({"image": PICTURE})[0], stylized(PICTURE))
    del session
    assert host.cuda.alive() == {}
    with pytest.raises(DeviceError, match=r"TensorRT 10.8.0 cannot load the plan that it built: the plan is no plan"):
        host.ours["session"].Session(b"damaged")
