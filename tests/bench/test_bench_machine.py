"""The machine's context."""

from __future__ import annotations

import os

import msgspec
import pytest

from nstopt.bench.machine import device_of, load_warnings, this_machine


def test_this_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cpu
    assert machine.ram_gib > 0
    assert "numpy" in machine.versions


def test_only_a_gpu_backend_runs_on_the_gpu() -> None:
    machine = msgspec.structs.replace(this_machine(), gpus=("A GPU",))
    assert device_of("tensorrt", machine) == "A GPU"
    assert device_of("openvino", machine) == machine.cpu


def test_a_busy_machine_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "getloadavg", lambda: (0.4, 0.0, 0.0))
    assert load_warnings() == ()
    monkeypatch.setattr(os, "getloadavg", lambda: (3.14, 0.0, 0.0))
    assert load_warnings() == ("load average 3.1 on 2 cores at the start of the run",)
