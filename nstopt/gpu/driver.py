"""Ask the NVIDIA driver for the GPUs of this machine, their memory, and its own version.

No vendor library is imported until one of these functions is called. They never raise: without a driver there are no
GPUs.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

# Attributes of cuDeviceGetAttribute.
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76
NAME_BYTES = 256
BUS_BYTES = 32


class GpuDevice(NamedTuple):
    """One GPU as the driver describes it.

    `sm` is its compute capability, `cuda` the newest CUDA version that the driver can run, `driver` the driver's
    version, empty without nvidia-ml-py, and `bus` its PCI bus id, such as 0000:01:00.0.
    """

    name: str
    sm: tuple[int, int]
    memory_gib: float
    driver: str
    cuda: str
    bus: str = ""


def count_gpus() -> int:
    """Count the NVIDIA GPUs that the driver shows; 0 without a driver."""
    driver = _libcuda()
    count = ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def devices() -> tuple[GpuDevice, ...]:
    """List the GPUs that CUDA may use, in CUDA's order, which is not that of nvidia-smi. Engines run on the first."""
    driver = _libcuda()
    if driver is None:
        return ()
    version = _driver_version()
    return tuple(_device(driver, index, version) for index in range(count_gpus()))


def _libcuda() -> ctypes.CDLL | None:
    """Load and initialize the driver's library; None if there is none."""
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
    """Ask NVML for the driver's version; empty if nvidia-ml-py is missing or fails."""
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
