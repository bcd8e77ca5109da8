"""Report which software runs on a GPU, which of it is installed, and how to install the rest.

Facts come from gpus.toml and the driver.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from typing import NamedTuple

from nstopt.gpu.driver import GpuDevice, devices
from nstopt.gpu.facts import Architecture, Gpu, architecture_of, gpu, is_supported, recognize, release_line

PRECISIONS = ("fp32", "fp16", "int8")
# Packages that the doctor looks for; those of one line are alternatives.
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
# TensorRT's wheels are for CUDA 13 unless the package for CUDA 12 is named, which needs a driver with CUDA 12.2:
# https://docs.nvidia.com/deeplearning/tensorrt/11.4.0/installing-tensorrt/prerequisites.html
PIP_GPU_CUDA_12 = "pip install nstopt 'tensorrt-cu12>=10.8,<12' 'cuda-python>=12.9,<13' nvidia-ml-py"
CUDA_13, CUDA_LEAST = (13, 0), (12, 2)
TENSORRT_CUDA_13 = ("tensorrt-cu13", "tensorrt-cu13-libs")
CUDNN_8 = "pip install 'nvidia-cudnn-cu12<9', and torch only as a CPU build or in another environment"
NEEDED = ("TensorRT", "CUDA bindings")


class Line(NamedTuple):
    """One finding. `fits` says whether it suits this GPU, None if there is nothing to judge."""

    what: str
    finding: str
    fits: bool | None


class Report(NamedTuple):
    """Findings on one GPU. `command` installs what is missing, empty if nothing is."""

    title: str
    lines: tuple[Line, ...]
    command: str


def examine(target: str | None = None) -> tuple[Report, ...]:
    """Report on each GPU of this machine, or on the GPU named `target`, without looking at what is installed.

    Raises DeviceError for an unknown name.
    """
    if target is not None:
        named = gpu(target)
        return (_report(named.title, named.architecture, named, None),)
    return tuple(
        _report(device.name, architecture_of(device.sm, device.name), recognize(device.name), device)
        for device in devices()
    )


def _report(title: str, generation: Architecture | None, known: Gpu | None, device: GpuDevice | None) -> Report:
    lines = [*_hardware(generation, known, device)]
    if generation is None:
        lines.append(Line("support", "not in nstopt's table: see NVIDIA's support matrix", None))
        return Report(title, tuple(lines), "")
    lines += _precisions(generation, known)
    lines += _software(generation, device)
    missing = device is None or any(line.fits is False for line in lines)
    return Report(title, tuple(lines), command(generation, device.cuda if device else None) if missing else "")


def _hardware(generation: Architecture | None, known: Gpu | None, device: GpuDevice | None) -> list[Line]:
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
        found.append(_driver(driver, device, generation))
    elif known is not None:
        found.append(Line("memory", f"{known.memory_gib:g} GiB", None))
        if known.architecture.driver_last:
            found.append(Line("driver", f"up to r{known.architecture.driver_last}, the last branch for it", None))
        if command(known.architecture) == PIP_GPU:
            found.append(Line("driver", f"r580 or newer; with an older one, from r535 on: {PIP_GPU_CUDA_12}", None))
    if known is not None:
        found.append(Line("bandwidth", f"{known.bandwidth_gb_s:g} GB/s", None))
    return found


def _driver(version: str, device: GpuDevice, generation: Architecture | None) -> Line:
    last = f"; r{generation.driver_last} is the last branch" if generation and generation.driver_last else ""
    finding = f"{version}runs CUDA up to {device.cuda}{last}"
    if release_line(device.cuda) >= CUDA_LEAST or (generation and generation.jetpack):
        return Line("driver", finding, None)
    return Line("driver", f"{finding}: too old for TensorRT's wheels, update it to r535 or newer", False)


def _precisions(generation: Architecture, known: Gpu | None) -> list[Line]:
    """Peak of each precision relative to FP32, and in numbers if the GPU is in the table."""
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


def _software(generation: Architecture, device: GpuDevice | None) -> list[Line]:
    lines = {
        "TensorRT": (generation.tensorrt_first, generation.tensorrt_last),
        "CUDA bindings": (generation.cuda_first, generation.cuda_last),
        "cuDNN": (None, generation.cudnn_last),
        "torch": (generation.torch_first, generation.torch_last),
        "ONNX Runtime GPU": (None, generation.onnxruntime_gpu_last),
    }
    found = []
    for what, (first, last) in lines.items():
        runs = _span(first, last) + _aside(what, generation)
        version = _installed(PACKAGES[what])
        if device is None:
            found.append(Line(what, runs, None))
        elif version is None:
            found.append(Line(what, f"not installed; runs here: {runs}", False if what in NEEDED else None))
        elif what == "cuDNN" and _needs_cudnn_8(version):
            found.append(Line(what, f"{version} installed, but TensorRT 8 loads cuDNN 8: {CUDNN_8}", False))
        elif what == "torch" and not _is_for_gpu(version, generation):
            found.append(Line(what, f"{version} installed, enough for nstopt; on the GPU itself: {runs}", None))
        elif what == "TensorRT" and _needs_newer_driver(device):
            found.append(Line(what, f"{version} installed, for CUDA 13, which the driver does not run", False))
        else:
            found.append(Line(what, f"{version} installed; runs here: {runs}", is_supported(version, first, last)))
    return found


def _needs_cudnn_8(version: str) -> bool:
    """Return True if the TensorRT that is installed cannot load without cuDNN 8, and cuDNN `version` is another one.
    Builds of torch for CUDA bring cuDNN 9, in the same package."""
    tensorrt = _installed(PACKAGES["TensorRT"])
    return tensorrt is not None and release_line(tensorrt) < (9, 0) and release_line(version)[0] != 8


def _aside(what: str, generation: Architecture) -> str:
    if what == "cuDNN":
        return " (nstopt's engines need none)"
    return f", from its index {generation.torch_index}" if what == "torch" and generation.torch_index else ""


def _is_for_gpu(version: str, generation: Architecture) -> bool:
    """Return True if this build of torch may run on the GPU.

    CPU builds do not. Where PyPI's builds no longer support the GPU, it must come from the index that does.
    """
    build = version.partition("+")[2]
    return build != "cpu" and generation.torch_index in (None, build)


def _needs_newer_driver(device: GpuDevice) -> bool:
    return release_line(device.cuda) < CUDA_13 and _installed(TENSORRT_CUDA_13) is not None


def command(generation: Architecture, driver_cuda: str | None = None) -> str:
    """Return the command line that installs what nstopt's GPU engines need on this generation.

    `driver_cuda` is the newest CUDA version that the driver runs, None if unknown.
    """
    if generation.jetpack:
        return "sudo apt-get install nvidia-jetpack  # TensorRT and CUDA come with the board's system image"
    if generation.tensorrt_last is None:
        is_old = driver_cuda is not None and release_line(driver_cuda) < CUDA_13
        return PIP_GPU_CUDA_12 if is_old else PIP_GPU
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
