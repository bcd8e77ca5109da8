"""An NVIDIA GPU while something is timed on it, through its management library (nvidia-ml-py)."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from nstopt.gpu.driver import devices

CLOCK_MOVED = 1.1
# What slows a GPU down below what was asked of it; nvml.h, nvmlClocksEventReasons.
THROTTLES = {
    0x0000000000000004: "its power limit",
    0x0000000000000008: "a hardware slowdown",
    0x0000000000000020: "its temperature (software)",
    0x0000000000000040: "its temperature (hardware)",
    0x0000000000000080: "its power supply",
}


class GpuState(msgspec.Struct, frozen=True):
    """The GPU during the timed runs, medians over the turns; `memory_mib` is what all processes used of it at most.
    None where the driver does not tell."""

    sm_clock_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    memory_mib: float | None


class GpuSample(NamedTuple):
    """One moment. None where the driver does not tell."""

    sm_clock_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    memory_mib: float | None
    throttled_by: int


class GpuMeter:
    """The GPU at one place of the bus."""

    def __init__(self, nvml: Any, bus: str) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByPciBusId(bus.encode())

    def sample(self) -> GpuSample:
        """Now: right after a run, while its clocks still are what they were during it."""
        nvml, handle = self._nvml, self._handle
        return GpuSample(
            sm_clock_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            power_w=self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            temperature_c=self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            memory_mib=self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / 2**20),
            throttled_by=int(self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0),
        )

    def _ask(self, question: Any) -> float | None:
        """Cheap and virtual GPUs and Jetson boards do not tell some of it."""
        try:
            return float(question())
        except self._nvml.NVMLError:
            return None


@contextlib.contextmanager
def open_gpu() -> Iterator[GpuMeter | None]:
    """The GPU that engines run on, or None where there is no driver, no GPU that it tells of, or no nvidia-ml-py."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # ImportError, or one of NVML's own
        yield None
        return
    gpu = None
    with contextlib.suppress(pynvml.NVMLError):
        gpu = next((GpuMeter(pynvml, device.bus) for device in devices()), None)
    try:
        yield gpu
    finally:
        pynvml.nvmlShutdown()


def summarize(samples: Sequence[GpuSample]) -> GpuState:
    """Medians of at least one sample, and the most memory; None where no sample tells."""
    return GpuState(
        sm_clock_mhz=_median([one.sm_clock_mhz for one in samples]),
        power_w=_median([one.power_w for one in samples]),
        temperature_c=_median([one.temperature_c for one in samples]),
        memory_mib=max((one.memory_mib for one in samples if one.memory_mib is not None), default=None),
    )


def gpu_warnings(samples: Sequence[GpuSample]) -> tuple[str, ...]:
    """Notes if the GPU was held back, or if its clock moved by more than a tenth."""
    reasons = 0
    for one in samples:
        reasons |= one.throttled_by
    notes = [f"the GPU was slowed down by {name}" for bit, name in THROTTLES.items() if reasons & bit]
    clocks = [one.sm_clock_mhz for one in samples if one.sm_clock_mhz is not None]
    if clocks and max(clocks) > CLOCK_MOVED * min(clocks):
        notes.append(f"the GPU's clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz while this was timed")
    return tuple(notes)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
