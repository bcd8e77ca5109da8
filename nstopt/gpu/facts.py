"""Facts about GPUs, from gpus.toml: peak rates, memory, and which TensorRT, CUDA and torch still run there.

A peak is the rate of all arithmetic units of the reference card, busy in every cycle at the boost clock. No program
reaches it. Peaks give floors for times, and ratios between precisions.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nstopt.errors import DeviceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).with_name("gpus.toml")
OPS_PER_MULTIPLY_ADD = 2
# A precision is worth building if it multiplies at least this much faster than FP32.
FAST = 1.5
# The first compute capability for which TensorRT has INT8 deconvolution kernels.
INT8_DECONVOLUTION_SM = (7, 2)


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Properties shared by all GPUs of one generation.

    Rates are dense multiply-adds per clock of one multiprocessor: on its vector units (`fp32`, `fp16`), by the DP4A
    instruction (`int8_dp4a`), and on its tensor cores (`*_tensor`), 0 if it has none. `*_first` and `*_last` are the
    first and last release lines that support it; `*_last` is None if support goes on. `torch_index` names the PyTorch
    package index to use where PyPI's builds no longer support it; `driver_last` is the last branch of drivers. With
    `jetpack`, libraries come with the board's
    system image and not from PyPI.
    """

    title: str
    sm: tuple[int, int]
    cores_per_sm: int
    fp32: int
    fp16: int
    int8_dp4a: int
    fp16_tensor: int
    int8_tensor: int
    tensorrt_first: str
    cuda_first: str
    torch_first: str
    sources: tuple[str, ...]
    tensorrt_last: str | None = None
    cuda_last: str | None = None
    cudnn_last: str | None = None
    torch_last: str | None = None
    torch_index: str | None = None
    onnxruntime_gpu_last: str | None = None
    driver_last: str | None = None
    jetpack: bool = False

    @property
    def compute_capability(self) -> str:
        """Compute capability as NVIDIA writes it, such as `6.1`."""
        return f"{self.sm[0]}.{self.sm[1]}"

    def multiply_adds(self, precision: str) -> int:
        """Return the best dense rate per clock of one multiprocessor for `fp32`, `fp16` or `int8`.

        TF32 does not count as FP32. Raises DeviceError for an unknown precision.
        """
        return max(self._rates(precision))

    def uses_tensor_cores(self, precision: str) -> bool:
        """Return True if the tensor cores have the best rate for `fp32`, `fp16` or `int8`. Raises DeviceError."""
        vector, tensor = self._rates(precision)
        return tensor > vector

    def _rates(self, precision: str) -> tuple[int, int]:
        """Rates of the vector units and of the tensor cores."""
        rates = {
            "fp32": (self.fp32, 0),
            "fp16": (self.fp16, self.fp16_tensor),
            "int8": (self.int8_dp4a, self.int8_tensor),
        }
        if precision not in rates:
            raise DeviceError(f"unknown precision '{precision}'; there are: {', '.join(rates)}")
        return rates[precision]

    def speed_up(self, precision: str) -> float:
        """Return the peak rate of a precision relative to FP32: on Pascal 1/64 for FP16 and 4 for INT8."""
        return self.multiply_adds(precision) / self.fp32

    def is_fast(self, precision: str) -> bool:
        """Return True if a precision is worth building. FP32 always is."""
        return precision == "fp32" or self.speed_up(precision) >= FAST

    @property
    def has_int8_transposed_convolution(self) -> bool:
        """Return True if TensorRT has INT8 deconvolution kernels for this generation."""
        return self.sm >= INT8_DECONVOLUTION_SM


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of a GPU.

    `key` is the name that users give it, `device_names` are the driver's names for it, without "NVIDIA" in front.
    `tensor_boost_mhz` is the boost clock of the tensor cores, None if it is `boost_mhz`. Memory is in GiB, bandwidth in
    10^9 bytes per second.
    """

    key: str
    title: str
    architecture: Architecture
    device_names: tuple[str, ...]
    multiprocessors: int
    base_mhz: int
    boost_mhz: int
    memory_gib: float
    bandwidth_gb_s: float
    published_fp32_tflops: float
    source: str
    tensor_boost_mhz: int | None = None

    @property
    def cores(self) -> int:
        """Number of FP32 lanes: multiprocessors x cores of each."""
        return self.multiprocessors * self.architecture.cores_per_sm

    def gops(self, precision: str) -> float:
        """Return the peak rate in 10^9 operations per second; a multiply-add counts as two operations.

        Multiprocessors x multiply-adds per clock x 2 x boost clock; dense, on the fastest units for `precision`. Raises
        DeviceError for an unknown precision.
        """
        multiply_adds = self.architecture.multiply_adds(precision)
        is_tensor = self.architecture.uses_tensor_cores(precision)
        clock_mhz = (self.tensor_boost_mhz if is_tensor else None) or self.boost_mhz
        return self.multiprocessors * multiply_adds * OPS_PER_MULTIPLY_ADD * clock_mhz / 1000


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    architecture: dict[str, Architecture]
    gpu: dict[str, dict[str, Any]]


@functools.cache
def _table() -> _Table:
    with TABLE.open("rb") as file:
        return msgspec.convert(tomllib.load(file), _Table)


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """Return all generations by name, oldest first."""
    return _table().architecture


@functools.cache
def gpus() -> Mapping[str, Gpu]:
    """Return all GPUs by the name that users give them, such as `gtx-1060`."""
    return {
        key: msgspec.convert({**entry, "key": key, "architecture": architectures()[entry["architecture"]]}, Gpu)
        for key, entry in _table().gpu.items()
    }


def gpu(name: str) -> Gpu:
    """Return the GPU of that name. Raises DeviceError, which lists all names, if it is unknown."""
    if name not in gpus():
        raise DeviceError(f"no GPU '{name}' is known; there are: {', '.join(gpus())}")
    return gpus()[name]


def recognize(device_name: str) -> Gpu | None:
    """Return the GPU with that name of the driver, or None if it is not in the table.

    Mobile versions have names and clocks of their own.
    """
    bare = device_name.removeprefix("NVIDIA ").strip()
    return next((gpu for gpu in gpus().values() if bare in gpu.device_names), None)


def architecture_of(sm: tuple[int, int], device_name: str = "") -> Architecture | None:
    """Return the generation with that compute capability, or None if it is not in the table.

    Two generations share 7.5; the driver's name of the GPU tells them apart where it can.
    """
    if (known := recognize(device_name)) is not None:
        return known.architecture
    same = [generation for generation in architectures().values() if generation.sm == sm]
    without = [generation for generation in same if generation.fp16_tensor == 0]
    if len(same) > 1 and "GTX 16" in device_name:
        return without[0]
    return same[0] if same else None


def release_line(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version, to compare it with `*_first` or `*_last`: `8.6.1.post1` → (8, 6)."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)


def is_supported(version: str, first: str | None, last: str | None) -> bool:
    """Return True if the release line of `version` lies from `first` to `last`; None is no limit. A last line such as
    `10.4` includes all its releases."""
    line = release_line(version)
    return (first is None or line >= release_line(first)) and (last is None or line <= release_line(last))
