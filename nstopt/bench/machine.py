"""The machine a record was measured on. Asks the system and the package metadata; imports no vendor library."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil

from nstopt.bench.record import Machine

PACKAGES = ("nstopt", "numpy", "openvino", "onnxruntime", "torch")
GPU_BACKENDS = frozenset({"tensorrt"})
BUSY_SHARE = 0.5
NVIDIA_SMI_TIMEOUT_S = 10


def this_machine() -> Machine:
    """What can be told about this machine without loading anything. Never raises: what is unknown says so."""
    return Machine(
        cpu=_cpu_name(),
        cores=_cores(),
        ram_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpus=_gpu_names(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=_versions(),
    )


def device_of(backend: str, machine: Machine) -> str:
    """Name of the device that a backend's engine runs on, on this machine."""
    return machine.gpus[0] if backend in GPU_BACKENDS and machine.gpus else machine.cpu


def load_warnings() -> tuple[str, ...]:
    """A note if others kept at least half of the cores busy during the last minute. Ask before a run, which is a
    load."""
    load, cores = os.getloadavg()[0], _cores()
    if load < BUSY_SHARE * cores:
        return ()
    return (f"load average {load:.1f} on {cores} cores at the start of the run",)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _gpu_names() -> tuple[str, ...]:
    """NVIDIA GPUs by name; none where the driver's tool is missing or fails."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(name.strip() for name in answer.stdout.splitlines() if name.strip())


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
