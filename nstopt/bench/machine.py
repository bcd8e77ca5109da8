"""Describe the machine a record was measured on, and what disturbed it meanwhile.

Asks the operating system and the package metadata only; imports no vendor library.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from nstopt.gpu.driver import devices
from nstopt.runs.record import GPU_BACKENDS, Machine

PACKAGES = ("nstopt", "numpy", "openvino", "nncf", "onnxruntime", "torch")
# Load average per core, and share of all CPU time used by others, from which a note is due.
BUSY_SHARE = 0.5
OTHERS_SHARE = 0.1
# Ratio of the highest to the lowest CPU clock, above which a note is due.
CLOCK_MOVED = 1.1
THROTTLES = "cpu[0-9]*/thermal_throttle/core_throttle_count"


def this_machine() -> Machine:
    """Describe this machine without loading any vendor library. Never raises; missing packages are left out."""
    return Machine(
        cpu=_cpu_name(),
        cores=_cores(),
        ram_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpus=tuple(device.name for device in devices()),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=_versions(),
    )


def device_of(backend: str, machine: Machine) -> str:
    """Return the name of the device that a backend's engines run on."""
    return machine.gpus[0] if backend in GPU_BACKENDS and machine.gpus else machine.cpu


def load_warnings() -> tuple[str, ...]:
    """Return a note if others kept at least half of the cores busy during the last minute.

    Ask before a run, since a run is a load itself.
    """
    load, cores = os.getloadavg()[0], _cores()
    if load < BUSY_SHARE * cores:
        return ()
    return (f"load average {load:.1f} on {cores} cores at the start of the run",)


class CpuTime(NamedTuple):
    """CPU usage at one moment.

    `wall` is the clock in seconds, `busy` the seconds that all CPUs have worked (including those taken by a
    hypervisor), `ours` the seconds used by our processes. `clock_mhz` is the mean CPU clock, None if unknown.
    `throttles` counts how often the cores have throttled since boot.
    """

    wall: float
    busy: float
    ours: float
    clock_mhz: float | None = None
    throttles: int = 0


def cpu_time(ours: Sequence[int]) -> CpuTime:
    """Read the current values; `ours` are the ids of our processes."""
    times = psutil.cpu_times()
    busy = sum(getattr(times, kind) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
    own = [psutil.Process(pid).cpu_times() for pid in ours]
    clock = psutil.cpu_freq()
    throttles = sum(int(file.read_text()) for file in Path("/sys/devices/system/cpu").glob(THROTTLES))
    wall = time.perf_counter()
    return CpuTime(wall, busy, sum(one.user + one.system for one in own), clock.current if clock else None, throttles)


def interference_warnings(spans: Sequence[tuple[CpuTime, CpuTime]]) -> tuple[str, ...]:
    """Return a note if others used more than a tenth of the CPU time during these spans.

    Such load slows down all cases, but not alike: threads that wait for each other, as torch's do, suffer most.
    """
    wall = sum(end.wall - start.wall for start, end in spans) * (psutil.cpu_count() or 1)
    others = sum((end.busy - start.busy) - (end.ours - start.ours) for start, end in spans)
    if others <= OTHERS_SHARE * wall:
        return ()
    return (f"other programs used {min(others / wall, 1):.0%} of the CPU time while this was timed",)


def clock_warnings(spans: Sequence[tuple[CpuTime, CpuTime]]) -> tuple[str, ...]:
    """Return notes if CPUs throttled, or if their clock, read after each turn, varied by more than a tenth."""
    notes = []
    throttles = sum(end.throttles - start.throttles for start, end in spans)
    if throttles:
        notes.append(f"the CPU throttled {throttles} times (too hot) while this was timed")
    clocks = [end.clock_mhz for _, end in spans if end.clock_mhz]
    if clocks and max(clocks) > CLOCK_MOVED * min(clocks):
        notes.append(f"the CPU clock varied between {min(clocks):.0f} and {max(clocks):.0f} MHz while this was timed")
    return tuple(notes)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
