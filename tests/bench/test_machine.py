"""The machine, and notes on what disturbed it."""

from __future__ import annotations

import os

import msgspec
import psutil
import pytest

from nstopt.bench.machine import (
    CpuTime,
    clock_warnings,
    cpu_time,
    device_of,
    interference_warnings,
    load_warnings,
    this_machine,
)


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


def test_the_load_of_other_programs_is_noted_but_not_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: 2)
    start, alone, crowded = CpuTime(0, 0, 0), CpuTime(10, 16, 15), CpuTime(10, 20, 11)
    assert interference_warnings([(start, alone)]) == ()
    assert interference_warnings([(start, crowded)]) == (
        "other programs used 45% of the CPU time while this was timed",
    )


def test_cpu_time_counts_our_own_process() -> None:
    start = cpu_time([os.getpid()])
    while cpu_time([os.getpid()]).ours < start.ours + 0.05:
        pass
    end = cpu_time([os.getpid()])
    assert end.wall > start.wall
    assert end.busy > start.busy


def test_a_clock_that_varies_and_throttling_are_noted() -> None:
    start = CpuTime(0, 0, 0, 3000.0, 4)
    steady, slow, hot = CpuTime(1, 1, 1, 2990.0, 4), CpuTime(2, 2, 2, 2000.0, 4), CpuTime(3, 3, 3, 2990.0, 6)
    unknown = CpuTime(1, 1, 1)
    assert clock_warnings([(start, steady)]) == ()
    assert clock_warnings([(unknown, unknown)]) == ()
    (moved,) = clock_warnings([(start, steady), (steady, slow)])
    assert moved == "the CPU clock varied between 2000 and 2990 MHz while this was timed"
    (throttled,) = clock_warnings([(start, hot)])
    assert throttled == "the CPU throttled 2 times (too hot) while this was timed"
