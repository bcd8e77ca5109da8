"""Read the state of an NVIDIA GPU while something is timed on it, through NVML (nvidia-ml-py)."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from nstopt.gpu.driver import devices
from nstopt.limits import Mebibytes, Reading

# Ratio of the highest to the lowest SM clock, above which a note is due.
CLOCK_MOVED = 1.1
# Reasons that keep a GPU below the requested clock: nvmlClocksEventReasons in nvml.h.
THROTTLES = {
    0x0000000000000004: "its power limit",
    0x0000000000000008: "a hardware slowdown",
    0x0000000000000020: "its temperature (software)",
    0x0000000000000040: "its temperature (hardware)",
    0x0000000000000080: "its power supply",
}


class GpuState(msgspec.Struct, frozen=True):
    """State of the GPU during the timed runs: medians over the turns, None if the driver does not tell.

    `memory_mib` is the maximum over the turns, for all processes on the GPU together.
    """

    sm_clock_mhz: Reading | None
    power_w: Reading | None
    temperature_c: Reading | None
    memory_mib: Mebibytes | None


class GpuSample(NamedTuple):
    """State of the GPU at one moment; None if the driver does not tell. `throttled_by` is a bit mask of THROTTLES."""

    sm_clock_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    memory_mib: float | None
    throttled_by: int


class GpuMeter:
    """Reads the GPU with that PCI bus id."""

    def __init__(self, nvml: Any, bus: str) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByPciBusId(bus.encode())

    def sample(self) -> GpuSample:
        """Read the state now. Call it right after a run, while the clocks are still those of the run."""
        nvml, handle = self._nvml, self._handle
        return GpuSample(
            sm_clock_mhz=self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            power_w=self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            temperature_c=self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            memory_mib=self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / 2**20),
            throttled_by=int(self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0),
        )

    def _ask(self, question: Any) -> float | None:
        """Return the answer, or None: cheap and virtual GPUs and Jetson boards do not answer every question."""
        try:
            return float(question())
        except self._nvml.NVMLError:
            return None


@contextlib.contextmanager
def open_gpu() -> Iterator[GpuMeter | None]:
    """Open the GPU that engines run on; None without a driver, a GPU, or nvidia-ml-py."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # ImportError, or an error of NVML
        yield None
        return
    gpu = None
    with contextlib.suppress(pynvml.NVMLError):
        gpu = next((GpuMeter(pynvml, device.bus) for device in devices()), None)
    try:
        yield gpu
    finally:
        pynvml.nvmlShutdown()


def gpu_state(samples: Sequence[GpuSample]) -> GpuState:
    """Summarize at least one sample: medians, and the largest memory; None if no sample has a value."""
    return GpuState(
        sm_clock_mhz=_median([one.sm_clock_mhz for one in samples]),
        power_w=_median([one.power_w for one in samples]),
        temperature_c=_median([one.temperature_c for one in samples]),
        memory_mib=max((one.memory_mib for one in samples if one.memory_mib is not None), default=None),
    )


def gpu_warnings(samples: Sequence[GpuSample]) -> tuple[str, ...]:
    """Return notes if the GPU was throttled, or if its clock varied by more than a tenth."""
    reasons = 0
    for one in samples:
        reasons |= one.throttled_by
    notes = [f"the GPU was slowed down by {name}" for bit, name in THROTTLES.items() if reasons & bit]
    clocks = [one.sm_clock_mhz for one in samples if one.sm_clock_mhz is not None]
    if clocks and max(clocks) > CLOCK_MOVED * min(clocks):
        notes.append(f"the GPU clock varied between {min(clocks):.0f} and {max(clocks):.0f} MHz while this was timed")
    return tuple(notes)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
