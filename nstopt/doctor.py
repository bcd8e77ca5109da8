"""Which software runs on a GPU, which of it is installed, and how to get the rest. Facts from gpus.toml and the
driver."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from typing import NamedTuple

from nstopt.driver import Device, devices
from nstopt.gpus import Architecture, Gpu, architecture_of, gpu, recognise, release_line

PRECISIONS = ("fp32", "fp16", "int8")
# What the doctor looks for; a line's packages are alternatives.
PACKAGES = {
    "TensorRT": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "CUDA bindings": ("cuda-python",),
    "cuDNN": ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cudnn-cu11"),
    "torch": ("torch",),
    "ONNX Runtime GPU": ("onnxruntime-gpu",),
}
PASCAL_PYTHON = (3, 10)
PIP_PASCAL = "python3.10 -m pip install 'nstopt[pascal]'"
PIP_GPU = "pip install 'nstopt[gpu]'"


class Line(NamedTuple):
    """One thing that was looked at. `fits` is None where there is nothing to judge."""

    what: str
    finding: str
    fits: bool | None


class Report(NamedTuple):
    """What is known of one GPU. `command` installs what is missing; empty where nothing is."""

    title: str
    lines: tuple[Line, ...]
    command: str


def examine(target: str | None = None) -> tuple[Report, ...]:
    """A report on each GPU of this machine, or on the GPU named `target`; for one that is not here, nothing is said
    about what is installed. Raises DeviceError for an unknown name."""
    if target is not None:
        named = gpu(target)
        return (_report(named.title, named.architecture, named, None),)
    return tuple(
        _report(device.name, architecture_of(device.sm, device.name), recognise(device.name), device)
        for device in devices()
    )


def _report(title: str, generation: Architecture | None, known: Gpu | None, device: Device | None) -> Report:
    lines = [*_hardware(generation, known, device)]
    if generation is None:
        lines.append(Line("support", "not in nstopt's table: whatever NVIDIA's support matrix says", None))
        return Report(title, tuple(lines), "")
    lines += _precisions(generation, known)
    lines += _software(generation, here=device is not None)
    missing = device is None or any(line.fits is False for line in lines)
    return Report(title, tuple(lines), command(generation) if missing else "")


def _hardware(generation: Architecture | None, known: Gpu | None, device: Device | None) -> list[Line]:
    found = []
    if generation is not None:
        found.append(
            Line("generation", f"{generation.title}, compute capability {generation.compute_capability}", None)
        )
    elif device is not None:
        found.append(Line("generation", f"compute capability {device.sm[0]}.{device.sm[1]}", None))
    if device is not None:
        driver = f"{device.driver}, " if device.driver else ""
        found.append(Line("memory", f"{device.memory_gib:.1f} GiB", None))
        found.append(Line("driver", f"{driver}runs CUDA up to {device.cuda}", None))
    elif known is not None:
        found.append(Line("memory", f"{known.memory_gib:g} GiB", None))
    if known is not None:
        found.append(Line("bandwidth", f"{known.bandwidth_gb_s:g} GB/s", None))
    return found


def _precisions(generation: Architecture, known: Gpu | None) -> list[Line]:
    """Each precision's peak against FP32, and in numbers where the very card is known."""
    found = []
    for precision in PRECISIONS:
        speed_up = generation.speed_up(precision)
        ratio = f"1/{1 / speed_up:.0f} of FP32" if speed_up < 1 else f"{speed_up:g}× FP32"
        parts = [] if precision == "fp32" else [ratio]
        if known is not None:
            parts.insert(0, f"{known.gops(precision) / 1000:.2f} {'TOPS' if precision == 'int8' else 'TFLOPS'} at most")
        fast = "" if generation.is_fast(precision) else ": not worth building"
        found.append(Line(precision.upper(), ", ".join(parts) + fast if parts else "the reference", None))
    return found


def _software(generation: Architecture, here: bool) -> list[Line]:
    runs = {
        "TensorRT": _span(generation.tensorrt_first, generation.tensorrt_last),
        "CUDA bindings": _span(generation.cuda_first, generation.cuda_last),
        "cuDNN": _span(None, generation.cudnn_last) + " (nstopt's engines need none)",
        "torch": _span(generation.torch_first, generation.torch_last)
        + (f", from its index {generation.torch_index}" if generation.torch_index else ""),
        "ONNX Runtime GPU": _span(None, generation.onnxruntime_gpu_last),
    }
    lasts = {
        "TensorRT": generation.tensorrt_last,
        "CUDA bindings": generation.cuda_last,
        "cuDNN": generation.cudnn_last,
        "torch": generation.torch_last,
        "ONNX Runtime GPU": generation.onnxruntime_gpu_last,
    }
    firsts = {
        "TensorRT": generation.tensorrt_first,
        "CUDA bindings": generation.cuda_first,
        "torch": generation.torch_first,
    }
    found = []
    for what, names in PACKAGES.items():
        if not here:
            found.append(Line(what, runs[what], None))
            continue
        version = _installed(names)
        needed = what in ("TensorRT", "CUDA bindings")
        if version is None:
            found.append(Line(what, f"not installed; runs here: {runs[what]}", False if needed else None))
        else:
            fits = _within(version, firsts.get(what), lasts[what])
            found.append(Line(what, f"{version} installed; runs here: {runs[what]}", fits))
    return found


def command(generation: Architecture) -> str:
    """The pip command, in one line, that brings what nstopt's GPU engines need on this generation."""
    if generation.jetpack:
        return "sudo apt-get install nvidia-jetpack  # TensorRT and CUDA come with the board's system image"
    if generation.tensorrt_last is None:
        return PIP_GPU
    if generation.tensorrt_last.startswith("8."):
        hint = "" if sys.version_info[:2] == PASCAL_PYTHON else f"  # not with Python {platform.python_version()}"
        return PIP_PASCAL + hint
    return f"pip install nstopt 'tensorrt<={generation.tensorrt_last}.99' 'cuda-python<13' nvidia-ml-py"


def _span(first: str | None, last: str | None) -> str:
    if last is None:
        return f"{first} and newer" if first else "every version"
    return f"{first} to {last}" if first else f"up to {last}"


def _installed(names: Sequence[str]) -> str | None:
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _within(version: str, first: str | None, last: str | None) -> bool:
    line = release_line(version)
    return (first is None or line >= release_line(first)) and (last is None or line <= release_line(last))
