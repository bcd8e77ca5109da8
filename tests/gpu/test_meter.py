"""GPU states and notes; a machine without a GPU is no error."""

from __future__ import annotations

import pytest

from nstopt.gpu.driver import count_gpus
from nstopt.gpu.meter import GpuMeter, GpuSample, GpuState, gpu_state, gpu_warnings, open_gpu

CALM = GpuSample(1700.0, 90.0, 60.0, 800.0, 0)


def test_a_state_has_medians_and_the_largest_memory() -> None:
    state = gpu_state([CALM, CALM._replace(sm_clock_mhz=1600.0, memory_mib=900.0), CALM._replace(power_w=None)])
    assert (state.sm_clock_mhz, state.power_w, state.temperature_c, state.memory_mib) == (1700.0, 90.0, 60.0, 900.0)
    assert gpu_state([GpuSample(None, None, None, None, 0)]) == GpuState(None, None, None, None)


def test_a_throttled_gpu_is_noted() -> None:
    assert gpu_warnings([]) == gpu_warnings([CALM, CALM]) == gpu_warnings([CALM._replace(sm_clock_mhz=None)]) == ()
    slow = CALM._replace(sm_clock_mhz=1200.0, throttled_by=0x4 | 0x40)
    assert gpu_warnings([CALM, slow]) == (
        "the GPU was slowed down by its power limit",
        "the GPU was slowed down by its temperature (hardware)",
        "the GPU clock varied between 1200 and 1700 MHz while this was timed",
    )


class SilentNvml:
    """Acts like NVML on a Jetson board, which has a GPU but answers no question about it."""

    NVMLError = LookupError
    NVML_CLOCK_SM = NVML_TEMPERATURE_GPU = 0

    def nvmlDeviceGetHandleByPciBusId(self, bus: bytes) -> bytes:  # noqa: N802
        return bus

    def __getattr__(self, name: str) -> object:
        def refuse(*_: object) -> object:
            raise LookupError(name)

        return refuse


def test_a_gpu_without_answers_is_no_error() -> None:
    assert GpuMeter(SilentNvml(), "0000:01:00.0").sample() == GpuSample(None, None, None, None, 0)


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has a GPU")
def test_open_gpu_gives_none_without_a_gpu() -> None:
    with open_gpu() as gpu:
        assert gpu is None


@pytest.mark.gpu
@pytest.mark.skipif(count_gpus() == 0, reason="needs an NVIDIA GPU")
def test_a_real_gpu_reports_clock_and_memory() -> None:
    with open_gpu() as gpu:
        assert gpu is not None
        sample = gpu.sample()
    assert sample.sm_clock_mhz is None or sample.sm_clock_mhz > 0
    assert sample.memory_mib is None or sample.memory_mib > 0
