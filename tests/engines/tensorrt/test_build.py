"""The build process: its answers, its failures and its end, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from nstopt.engines.tensorrt.build import BUNDLE_FILES, WORKER, build_plan, run
from nstopt.engines.tensorrt.messages import BuildRequest, ConvolutionInfo, GraphInfo
from nstopt.errors import BuildError
from nstopt.gpu.driver import count_gpus
from nstopt.progress import Silent


class Steps(Silent):
    """Keeps the steps that are reported."""

    def __init__(self) -> None:
        self.descriptions: list[str] = []

    def step(self, description: str) -> None:
        self.descriptions.append(description)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def test_progress_and_result() -> None:
    steps = Steps()
    version = run(
        python(
            """
            print('{"type": "phase", "name": "tactics", "done": 2, "total": 9}')
            print('some library says hello')
            print('{"type": "phase", "name": "building", "done": 0, "total": 0}')
            print('{"type": "finished", "version": "8.6.1"}')
            """
        ),
        steps,
    )
    assert version == "8.6.1"
    assert steps.descriptions == ["TensorRT: tactics 2/9", "TensorRT: building"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            """print('{"type": "failed", "reason": "no tactic for conv3"}')""",
            "engine: no tactic for conv3",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was killed by signal 11: no error message"),
        ("import sys; sys.exit('libnvinfer.so.8: no such file')", "ended with status 1: libnvinfer.so.8: no such file"),
        ("pass", "ended with status 0: no error message"),
    ],
)
def test_builds_that_fail(code: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        run(python(code), Steps())


def test_an_interrupt_kills_the_process(tmp_path: Path) -> None:
    """Ctrl-C in the waiting process."""
    mark = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(60)"
    code = f"""
        import sys
        from nstopt.engines.tensorrt.build import run
        from nstopt.progress import Silent
        try:
            run([sys.executable, "-c", {child!r}], Silent())
        except KeyboardInterrupt:
            sys.exit(130)
    """
    parent = subprocess.Popen(python(code))
    deadline = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(10) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


ANSWERING = """
    import sys, pathlib, msgspec
    request = msgspec.json.decode(pathlib.Path(sys.argv[1]).read_bytes())
    folder = pathlib.Path(request["folder"])
    (folder / "build.log").write_text("[ERROR] first" if not request["verbose"] else "[VERBOSE] much")
"""
BUILDING = (
    ANSWERING
    + """
    for name in ("engine.plan", "layers.json"):
        (folder / name).write_text('{"Layers": []}')
    print('{"type": "finished", "version": "8.6.1"}')
"""
)
FAILING = (
    ANSWERING
    + """
    print('{"type": "failed", "reason": "no tactic for conv3"}')
"""
)


class Workshop(NamedTuple):
    """A request, the folder that a plan goes to, and a function that makes `build_plan` start other code."""

    request: BuildRequest
    folder: Path
    start: Callable[[str], None]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    (tmp_path / "model.onnx").write_bytes(b"the graph")
    (tmp_path / "draft").mkdir()
    types = GraphInfo({}, {"conv1": ConvolutionInfo(("int8",), ("fp32",), 9)})
    request = BuildRequest(str(tmp_path / "model.onnx"), "", "int8", types, (), None, "")

    def start(code: str) -> None:
        (tmp_path / "worker_of_test.py").write_text(textwrap.dedent(code))
        monkeypatch.setattr("nstopt.engines.tensorrt.build.WORKER", "worker_of_test")

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return Workshop(request, tmp_path / "draft", start)


def test_a_build_leaves_its_files_and_says_what_was_built(workshop: Workshop, tmp_path: Path) -> None:
    workshop.start(BUILDING)
    plan = build_plan(workshop.request, workshop.folder, tmp_path / "cache", Steps(), tmp_path / "net.failed")
    assert plan == ("8.6.1", ("int8", ("conv1 is not in TensorRT's layer report",)))
    assert sorted(path.name for path in workshop.folder.iterdir()) == sorted(BUNDLE_FILES)
    assert not (tmp_path / "net.failed").exists()


def test_a_failed_build_leaves_its_evidence(workshop: Workshop, tmp_path: Path) -> None:
    workshop.start(FAILING)
    evidence = tmp_path / "net.failed"
    for verbose, log in ((True, "[VERBOSE] much"), (False, "[ERROR] first")):
        request = msgspec.structs.replace(workshop.request, verbose=verbose)
        with pytest.raises(BuildError, match=r"no tactic for conv3; its log and its graph are in .*/net\.failed$"):
            build_plan(request, workshop.folder, tmp_path / "cache", Steps(), evidence)
        assert list(workshop.folder.iterdir()) == []
        assert sorted(path.name for path in evidence.iterdir()) == ["build.log", "model.onnx", "request.json"]
        assert (evidence / "build.log").read_text() == log
        assert (evidence / "model.onnx").read_bytes() == b"the graph"
    workshop.start(BUILDING)
    build_plan(workshop.request, workshop.folder, tmp_path / "cache", Steps(), evidence)
    assert not evidence.exists()


def test_a_crash_without_a_log_leaves_the_graph(workshop: Workshop, tmp_path: Path) -> None:
    workshop.start("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(BuildError, match="was killed by signal 11"):
        build_plan(workshop.request, workshop.folder, tmp_path / "cache", Steps(), tmp_path / "net.failed")
    assert sorted(path.name for path in (tmp_path / "net.failed").iterdir()) == ["model.onnx", "request.json"]


def test_the_worker_without_a_gpu_or_without_tensorrt_is_an_error(tmp_path: Path) -> None:
    if count_gpus():
        pytest.skip("this machine has an NVIDIA GPU")
    (tmp_path / "request.json").write_text("{}")
    with pytest.raises(BuildError, match="TensorRT's builder ended with status 1"):
        run([sys.executable, "-m", WORKER, str(tmp_path / "request.json")], Steps())
