"""What must be so before TensorRT is touched: a GPU, the package, a version that knows the GPU, a precision worth
having. Asks the driver and gpus.toml; imports nothing of NVIDIA's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

from nstopt.bundle import Manifest
from nstopt.errors import BuildError, DeviceError
from nstopt.gpu.driver import GpuDevice, devices
from nstopt.gpu.facts import Architecture, architecture_of, release_line
from nstopt.precisions import parts

PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
UNKNOWN = "of unknown version"


def installed() -> str | None:
    """Version of the TensorRT package, None if there is none. Does not import it."""
    if importlib.util.find_spec("tensorrt") is None:
        return None
    for package in PACKAGES:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return UNKNOWN


def require_gpu(what: str) -> GpuDevice:
    """The GPU that TensorRT uses. Raises DeviceError where there is none, TensorRT is missing, or the one does not know
    the other."""
    found = devices()
    if not found:
        raise DeviceError(
            f"cannot {what} with TensorRT: it needs an NVIDIA GPU, and this machine shows none; use --backend openvino"
        )
    version = installed()
    if version is None:
        raise DeviceError(
            f"cannot {what} with TensorRT: the package is not installed; nstopt doctor says which to install"
        )
    check_supported(found[0], version)
    return found[0]


def check_supported(device: GpuDevice, version: str) -> None:
    """Raise DeviceError if a version of TensorRT does not run on the GPU."""
    generation = architecture_of(device.sm, device.name)
    if generation is None or version == UNKNOWN:
        return
    if not runs_on(generation, version):
        lines = f"{generation.tensorrt_first} to {generation.tensorrt_last or 'the newest'}"
        raise DeviceError(
            f"TensorRT {version} does not run on {device.name} ({generation.title}, compute capability "
            f"{generation.compute_capability}): it needs {lines}; nstopt doctor says how to install it"
        )


def runs_on(generation: Architecture, version: str) -> bool:
    """Whether a version lies between the first and the last line that support a generation."""
    line = release_line(version)
    last = generation.tensorrt_last
    # A last line such as "10.4" counts to the end of it.
    return line >= release_line(generation.tensorrt_first) and (last is None or line <= release_line(last))


def has_own_norm(version: str) -> bool:
    """Whether TensorRT has an InstanceNormalization that needs no cuDNN: from 10 on."""
    return is_typed(version)


def is_typed(version: str) -> bool:
    """Whether TensorRT computes in the types of the graph: from 10 on."""
    return version != UNKNOWN and release_line(version) >= (10, 0)


def check_precision(device: GpuDevice, precision: str, force: bool) -> None:
    """Raise BuildError where a precision is far slower than FP32 on the GPU, unless it is forced."""
    generation = architecture_of(device.sm, device.name)
    if generation is None or force:
        return
    for part in parts(precision):
        if generation.is_fast(part):
            continue
        speed_up = generation.speed_up(part)
        rate = f"1/{1 / speed_up:.0f}" if speed_up < 1 else f"{speed_up:g} times"
        raise BuildError(
            f"{part.upper()} runs at {rate} of FP32's rate on {device.name} ({generation.title}): "
            "build --int8 or FP32 instead, or insist with --force"
        )


def check_types(version: str, precision: str) -> None:
    """Raise BuildError where a version of TensorRT does not take the types of a graph with several as they are: before
    10, it would choose among them."""
    if len(parts(precision)) > 1 and not is_typed(version):
        raise BuildError(
            f"INT8 with FP16 between needs TensorRT 10 or newer, and {version} is installed: build --int8 or --fp16"
        )


def check_built_for(manifest: Manifest, device: GpuDevice) -> None:
    """A plan runs on the TensorRT version and the GPU that it was built with only. Raises DeviceError."""
    backend = manifest.backend
    built, here = backend.versions.get("tensorrt", ""), installed() or ""
    if here != UNKNOWN and built.split(".post")[0] != here.split(".post")[0]:
        raise DeviceError(
            f"{manifest.net.name}: built with TensorRT {built}, but {here} is installed; build it again here"
        )
    if backend.device != device.name:
        raise DeviceError(
            f"{manifest.net.name}: built for {backend.device}, but this is {device.name}; build it again here"
        )


def timing_cache_name(device: GpuDevice) -> str:
    """Measurements hold for one GPU and one version: the name says which."""
    gpu = re.sub(r"\W+", "-", device.name.removeprefix("NVIDIA ")).strip("-").lower()
    return f".tensorrt-{installed()}-sm{device.sm[0]}{device.sm[1]}-{gpu}.timing"
