"""What the NVIDIA driver says of this machine: GPUs, their memory, its own version. Imports no vendor library until
asked, and never raises: no driver means no GPUs."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

# Of cuDeviceGetAttribute.
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76
NAME_BYTES = 256
BUS_BYTES = 32


class GpuDevice(NamedTuple):
    """One GPU. `sm` is its compute capability, `cuda` the newest CUDA that the driver can run, `driver` the driver's
    version, empty where nvidia-ml-py is not there to tell it, `bus` its place, such as 0000:01:00.0."""

    name: str
    sm: tuple[int, int]
    memory_gib: float
    driver: str
    cuda: str
    bus: str = ""


def count_gpus() -> int:
    """NVIDIA GPUs that the driver shows; 0 where there is no driver."""
    driver = _libcuda()
    count = ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def devices() -> tuple[GpuDevice, ...]:
    """Every GPU that CUDA may use here, in its order, which is not that of nvidia-smi: engines run on the first. The
    driver's version is added where nvidia-ml-py is installed."""
    driver = _libcuda()
    if driver is None:
        return ()
    version = _driver_version()
    return tuple(_device(driver, index, version) for index in range(count_gpus()))


def _libcuda() -> ctypes.CDLL | None:
    """The driver's library, initialized."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return None if driver.cuInit(0) else driver


def _device(driver: ctypes.CDLL, index: int, version: str) -> GpuDevice:
    handle, number, memory = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_size_t(0)
    driver.cuDeviceGet(ctypes.byref(handle), index)
    name = ctypes.create_string_buffer(NAME_BYTES)
    driver.cuDeviceGetName(name, NAME_BYTES, handle)
    bus = ctypes.create_string_buffer(BUS_BYTES)
    driver.cuDeviceGetPCIBusId(bus, BUS_BYTES, handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    sm = []
    for attribute in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR):
        driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, handle)
        sm.append(number.value)
    driver.cuDriverGetVersion(ctypes.byref(number))
    cuda = f"{number.value // 1000}.{number.value % 1000 // 10}"
    return GpuDevice(name.value.decode(), (sm[0], sm[1]), memory.value / 2**30, version, cuda, bus.value.decode())


def _driver_version() -> str:
    """Through NVML; empty where nvidia-ml-py is missing or fails."""
    try:
        import pynvml
    except ImportError:
        return ""
    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ""
    return str(version)
