"""The build process: its answers, its failures and its end, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from nstopt.engines.tensorrt.build import WORKER, run
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


def test_the_worker_without_a_gpu_or_without_tensorrt_is_an_error(tmp_path: Path) -> None:
    if count_gpus():
        pytest.skip("this machine has an NVIDIA GPU")
    (tmp_path / "request.json").write_text("{}")
    with pytest.raises(BuildError, match="TensorRT's builder ended with status 1"):
        run([sys.executable, "-m", WORKER, str(tmp_path / "request.json")], Steps())
