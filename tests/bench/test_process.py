"""Timed processes: they return samples, pass errors on, and their death is an error message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import psutil
import pytest
from made import MakeBundle

from nstopt.bench.process import TimedProcess
from nstopt.bench.subject import BundleSubject
from nstopt.errors import BundleError, DeviceError
from nstopt.pictures.noise import noise
from nstopt.pictures.size import Size

PICTURES = noise(Size(32, 32), batch=1)


def test_a_process_runs_as_often_as_asked_and_reports_its_peak_memory(make_bundle: MakeBundle) -> None:
    with TimedProcess(BundleSubject(make_bundle()), PICTURES, "tiny") as process:
        assert len(process.run(3)) == 3
        assert all(sample > 0 for sample in process.run(2))
        assert 20 < process.peak_memory_mib() < 2000
    assert not psutil.pid_exists(process.pid)


def test_an_error_keeps_its_class_and_message(make_bundle: MakeBundle) -> None:
    path = make_bundle()
    with (path / "model.xml").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=r"tiny.nst: model.xml does not match its hash"):
        TimedProcess(BundleSubject(path), PICTURES, "tiny")


def test_the_death_of_a_process_names_the_signal(make_bundle: MakeBundle) -> None:
    with TimedProcess(BundleSubject(make_bundle()), PICTURES, "tiny at 32x32") as process:
        process.run(1)
        os.kill(process.pid, signal.SIGSEGV)
        with pytest.raises(DeviceError, match="benching tiny at 32x32: its process was killed by SIGSEGV"):
            process.run(1)


@dataclass(frozen=True)
class Unknown:
    """Simulates a crash: the worker cannot import this test module, so it ends with a traceback."""

    def open(self) -> type[np.ndarray]:
        raise NotImplementedError


def test_an_unexpected_end_is_an_error_with_exit_code_and_last_output() -> None:
    with pytest.raises(DeviceError, match=r"its process ended with exit code 1; its last output: ModuleNotFoundError"):
        TimedProcess(Unknown(), PICTURES, "tiny")


def test_a_process_that_runs_an_engine_imports_neither_torch_nor_onnx(make_bundle: MakeBundle) -> None:
    program = (
        "import sys; from pathlib import Path; import nstopt.bench.worker; import nstopt.bench.peers;"
        "from nstopt.bench.subject import BundleSubject; BundleSubject(Path(sys.argv[1])).open();"
        "print([name for name in ('torch', 'onnx', 'rich', 'PIL') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(make_bundle())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
