"""Checks before TensorRT is imported: a GPU, the package, a version that supports the GPU, a precision that is fast on
it. The facts come from the driver and gpus.toml; nothing of NVIDIA's is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

from nstopt.errors import BuildError, DeviceError
from nstopt.gpu.driver import GpuDevice, devices
from nstopt.gpu.facts import architecture_of, is_supported, release_line
from nstopt.manifest import Manifest
from nstopt.precisions import parts

PACKAGES = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
UNKNOWN = "of unknown version"
# The first version whose parser has the flag NATIVE_INSTANCENORM.
OWN_NORM_FIRST = (8, 6, 1)
TF32_FIRST_SM = (8, 0)


def installed() -> str | None:
    """Return the version of the TensorRT package, None if there is none. Does not import it."""
    if importlib.util.find_spec("tensorrt") is None:
        return None
    for package in PACKAGES:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return UNKNOWN


def require_gpu(action: str) -> GpuDevice:
    """Return the GPU that TensorRT uses. Raises DeviceError, whose message names `action`, if there is no GPU, TensorRT
    is not installed, or its version does not support the GPU."""
    found = devices()
    if not found:
        raise DeviceError(
            f"cannot {action} with TensorRT: it needs an NVIDIA GPU, and this machine has none; use --backend openvino"
        )
    version = installed()
    if version is None:
        raise DeviceError(
            f"cannot {action} with TensorRT: the package is not installed; nstopt doctor says which to install"
        )
    check_supported(found[0], version)
    return found[0]


def check_supported(device: GpuDevice, version: str) -> None:
    """Raise DeviceError if a version of TensorRT does not run on the GPU."""
    generation = architecture_of(device.sm, device.name)
    if generation is None or version == UNKNOWN:
        return
    if not is_supported(version, generation.tensorrt_first, generation.tensorrt_last):
        lines = f"{generation.tensorrt_first} to {generation.tensorrt_last or 'the newest'}"
        raise DeviceError(
            f"TensorRT {version} does not run on {device.name} ({generation.title}, compute capability "
            f"{generation.compute_capability}): it needs {lines}; nstopt doctor says how to install it"
        )


def has_own_norm(version: str) -> bool:
    """Return True if TensorRT has an InstanceNormalization that needs no cuDNN: version 8.6.1 and later."""
    return version != UNKNOWN and tuple(map(int, re.findall(r"\d+", version)[:3])) >= OWN_NORM_FIRST


def is_typed(version: str) -> bool:
    """Return True if TensorRT computes in the types of the graph (strongly typed networks): version 10 and later."""
    return version != UNKNOWN and release_line(version) >= (10, 0)


def check_precision(device: GpuDevice, precision: str, force: bool) -> None:
    """Raise BuildError if a precision is not fast on the GPU (`Architecture.is_fast`), unless `force` is set."""
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
            "build --int8 or FP32 instead, or use --force"
        )


def check_tf32(device: GpuDevice) -> None:
    """Raise BuildError if the GPU has no TF32."""
    if device.sm < TF32_FIRST_SM:
        raise BuildError(f"{device.name} has no TF32, which begins with Ampere: leave --tf32 out")


def check_types(version: str, precision: str) -> None:
    """Raise BuildError for a precision of several types if TensorRT `version` does not keep the types of the graph:
    before 10, it would choose among them."""
    if len(parts(precision)) > 1 and not is_typed(version):
        raise BuildError(
            f"INT8 with FP16 between needs TensorRT 10 or newer, and {version} is installed: build --int8 or --fp16"
        )


def check_built_for(manifest: Manifest, device: GpuDevice) -> None:
    """Raise DeviceError if a bundle's plan was built with another TensorRT version or for another GPU: a plan runs
    nowhere else."""
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


def label_of(device: GpuDevice) -> str:
    """Return the name of what is kept for one GPU and one TensorRT version."""
    gpu = re.sub(r"\W+", "-", device.name.removeprefix("NVIDIA ")).strip("-").lower()
    return f"tensorrt-{installed()}-sm{device.sm[0]}{device.sm[1]}-{gpu}"


def timing_cache_name(device: GpuDevice) -> str:
    """Return the file name of a timing cache, which is valid for one GPU and one TensorRT version."""
    return f".{label_of(device)}.timing"
