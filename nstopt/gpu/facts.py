"""Facts about GPUs, from gpus.toml: peak rates, memory, and which TensorRT, CUDA and torch still run there.

Peaks are what the arithmetic units can do in every clock cycle at the boost clock of the reference card. No program
reaches them; they are floors for times, and ratios between precisions.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nstopt.errors import DeviceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).with_name("gpus.toml")
OPS_PER_MULTIPLY_ADD = 2
# A precision is fast where it multiplies at least this much faster than FP32.
FAST = 1.5
# The first compute capability for which TensorRT has INT8 deconvolution kernels.
INT8_DECONVOLUTION_SM = (7, 2)


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What GPUs of one generation share. Rates are dense multiply-adds per clock of one multiprocessor: on its vector
    units (`fp32`, `fp16`), by DP4A, and on its tensor cores, 0 where it has none. `*_last` is the last release line
    that supports it, None where none has ended it; `torch_index` names PyTorch's own index where PyPI's builds no
    longer serve it. `jetpack`: libraries come with the board's system image, not from PyPI."""

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
    jetpack: bool = False

    @property
    def compute_capability(self) -> str:
        """As NVIDIA writes it: `6.1`."""
        return f"{self.sm[0]}.{self.sm[1]}"

    def multiply_adds(self, precision: str) -> int:
        """The best dense rate per clock of one multiprocessor for `fp32`, `fp16` or `int8`. TF32 does not count as
        FP32."""
        rates = {
            "fp32": self.fp32,
            "fp16": max(self.fp16, self.fp16_tensor),
            "int8": max(self.int8_dp4a, self.int8_tensor),
        }
        if precision not in rates:
            raise DeviceError(f"unknown precision '{precision}'; there are: {', '.join(rates)}")
        return rates[precision]

    def speed_up(self, precision: str) -> float:
        """Peak rate of a precision against FP32: 1/64 for FP16 on Pascal, 4 for its INT8."""
        return self.multiply_adds(precision) / self.fp32

    def is_fast(self, precision: str) -> bool:
        """Whether a precision is worth asking for. FP32 always is."""
        return precision == "fp32" or self.speed_up(precision) >= FAST

    @property
    def has_int8_transposed_convolution(self) -> bool:
        """Return True if TensorRT has INT8 deconvolution kernels for this generation."""
        return self.sm >= INT8_DECONVOLUTION_SM


class Gpu(msgspec.Struct, frozen=True):
    """One GPU as it was sold. `device_names` is what the driver calls it, without NVIDIA in front; `key` is what users
    call it. Memory in GiB, bandwidth in 10^9 bytes a second."""

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

    @property
    def cores(self) -> int:
        """FP32 lanes: multiprocessors x cores of each."""
        return self.multiprocessors * self.architecture.cores_per_sm

    def gops(self, precision: str) -> float:
        """Peak rate in 10^9 operations a second, a multiply-add counting as two: multiprocessors x multiply-adds per
        clock x 2 x boost clock. Dense, on the fastest units that the precision has."""
        multiply_adds = self.architecture.multiply_adds(precision)
        return self.multiprocessors * multiply_adds * OPS_PER_MULTIPLY_ADD * self.boost_mhz / 1000


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GPU as the file has it."""

    title: str
    architecture: str
    device_names: tuple[str, ...]
    multiprocessors: int
    base_mhz: int
    boost_mhz: int
    memory_gib: float
    bandwidth_gb_s: float
    published_fp32_tflops: float
    source: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    architecture: dict[str, Architecture]
    gpu: dict[str, _Entry]


@functools.cache
def _table() -> _Table:
    with TABLE.open("rb") as file:
        return msgspec.convert(tomllib.load(file), _Table)


@functools.cache
def architectures() -> Mapping[str, Architecture]:
    """All generations by name, oldest first."""
    return _table().architecture


@functools.cache
def gpus() -> Mapping[str, Gpu]:
    """All GPUs by the name users give them, such as `gtx-1060`."""
    return {
        key: Gpu(key=key, **{**msgspec.structs.asdict(entry), "architecture": architectures()[entry.architecture]})
        for key, entry in _table().gpu.items()
    }


def gpu(name: str) -> Gpu:
    """The GPU of that name. Raises DeviceError, which lists the names, if there is none."""
    if name not in gpus():
        raise DeviceError(f"no GPU '{name}' is known; there are: {', '.join(gpus())}")
    return gpus()[name]


def recognize(device_name: str) -> Gpu | None:
    """The GPU that a driver means, or None for one the table does not hold (mobile versions have names, and clocks, of
    their own)."""
    bare = device_name.removeprefix("NVIDIA ").strip()
    return next((gpu for gpu in gpus().values() if bare in gpu.device_names), None)


def architecture_of(sm: tuple[int, int], device_name: str = "") -> Architecture | None:
    """The generation of a compute capability, or None for one that is not in the table. Two share 7.5; the name tells
    them apart where it can."""
    if (known := recognize(device_name)) is not None:
        return known.architecture
    same = [generation for generation in architectures().values() if generation.sm == sm]
    without = [generation for generation in same if generation.fp16_tensor == 0]
    if len(same) > 1 and "GTX 16" in device_name:
        return without[0]
    return same[0] if same else None


def release_line(version: str) -> tuple[int, int]:
    """`8.6.1.post1` → (8, 6), to compare a version with a `*_first` or `*_last`."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)


def is_supported(version: str, first: str | None, last: str | None) -> bool:
    """Return True if the release line of `version` lies from `first` to `last`; None is no limit. A last line such as
    `10.4` includes all its releases."""
    line = release_line(version)
    return (first is None or line >= release_line(first)) and (last is None or line <= release_line(last))
