"""Projections against times computed by hand, and forecasts of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from made import MakeRecord

from nstopt.errors import BuildError, DeviceError
from nstopt.gpu import facts
from nstopt.graph.work import Work
from nstopt.pictures.size import Size
from nstopt.precisions import PRECISIONS
from nstopt.projection import forecast
from nstopt.projection.fit import Fitted, Observation, fit
from nstopt.projection.kernels import KINDS, MOVING, MULTIPLYING, NORMS, TRANSPOSED, Kernel
from nstopt.projection.model import (
    DeviceModel,
    EfficiencyRange,
    Workload,
    floors_ms,
    gpu_efficiency,
    of_gpu,
    project,
)
from nstopt.runs.layers import Bandwidth, Peaks

# 100 MACs per ms in FP32, 400 in INT8, 200 in FP16; 10 bytes per ms.
DEVICE = DeviceModel("a device", Peaks(100.0, 400.0, (Bandwidth(1, 10.0),), 250.0), 200.0, False, 0.0)
SIZE = Size(64, 64)


def kernel(kind: str, macs: int, moved: int = 0, type_: str = "fp32") -> Kernel:
    return Kernel("k", kind, Work(macs, moved, 0, type_), frozenset())


@pytest.mark.parametrize(
    ("one", "precision", "expected"),
    [
        (kernel(MULTIPLYING, 1000), "fp32", {MULTIPLYING: 10.0}),
        (kernel(MULTIPLYING, 1000, type_="int8"), "int8", {MULTIPLYING: 2.5}),
        (kernel(TRANSPOSED, 1000, type_="int8"), "int8", {TRANSPOSED: 10.0}),
        (kernel(MULTIPLYING, 1000, type_="int8"), "int8-fp16", {MULTIPLYING: 2.5}),
        (kernel(TRANSPOSED, 1000, type_="int8"), "int8-fp16", {TRANSPOSED: 5.0}),
        (kernel(MULTIPLYING, 1000), "fp16", {MULTIPLYING: 5.0}),
        (kernel(MULTIPLYING, 1000), "bf16", {MULTIPLYING: 4.0}),
        (kernel(MULTIPLYING, 1000), "int8-bf16", {MULTIPLYING: 4.0}),
        (kernel(MULTIPLYING, 1000, type_="int8"), "int8-bf16", {MULTIPLYING: 2.5}),
        (kernel(MULTIPLYING, 1000, 500), "fp32", {MOVING: 50.0}),
        (kernel(NORMS, 0, 50), "fp32", {NORMS: 5.0}),
    ],
)
def test_a_floor_is_arithmetic_or_memory(one: Kernel, precision: str, expected: dict[str, float]) -> None:
    assert floors_ms([one], DEVICE, precision) == pytest.approx(expected)


def test_peaks_of_a_gpu_are_those_of_its_data_sheet() -> None:
    device = of_gpu(facts.gpu("gtx-1060"))
    assert device.peaks.fp32_macs_per_ms == pytest.approx(4.38e12 / 2 / 1e3, rel=0.01)
    assert device.peaks.int8_macs_per_ms == pytest.approx(4 * device.peaks.fp32_macs_per_ms)
    assert device.fp16_macs_per_ms == pytest.approx(device.peaks.fp32_macs_per_ms / 64)
    assert not device.int8_transposed


@pytest.mark.parametrize(
    ("target", "precision"),
    [("gtx-1060", "fp32"), ("gtx-1060", "int8"), ("rtx-3060", "fp16"), ("rtx-3060", "int8-fp16")],
)
def test_a_projection_is_a_range_that_grows_with_the_picture(target: str, precision: str, tiny_onnx: Path) -> None:
    gpu = facts.gpu(target)
    small, large = (
        project(Workload("tiny", tiny_onnx, precision, size), of_gpu(gpu), gpu_efficiency(gpu, precision), target)
        for size in (Size(64, 64), Size(512, 512))
    )
    assert 0 < small.low_ms < small.high_ms < large.high_ms
    assert large.memory_mib > 30 * small.memory_mib
    assert (small.net, small.target, small.device, small.size) == ("tiny", target, gpu.title, Size(64, 64))


def test_an_unknown_precision_is_refused(tiny_onnx: Path) -> None:
    with pytest.raises(BuildError, match="unknown precision 'fp8'"):
        project(Workload("tiny", tiny_onnx, "fp8", SIZE), DEVICE, gpu_efficiency(facts.gpu("t4"), "fp32"), "t4")


def test_target_here_predicts_each_net_from_the_others(
    tiny_onnx: Path, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "of_backend", lambda backend, title: DEVICE)
    models = dict.fromkeys("abc", tiny_onnx)
    records = [
        make_record((ms * 64**2,), net=net, precision="fp32", height=64, width=64)
        for net, ms in (("a", 1.0), ("b", 1.0), ("c", 2.0))
    ]
    rows, left_out = forecast.here(records, models)
    assert left_out == []
    assert [(row.net, row.target, row.backend) for row in rows] == [(r.net, "here", "openvino") for r in records]
    at_64 = {row.net: (row.low_ms * row.high_ms) ** 0.5 / 64**2 for row in rows}
    assert at_64["c"] == pytest.approx(1.0, rel=0.05)  # from a and b alone, without its own time
    assert 1.0 < at_64["a"] < 2.0
    with pytest.raises(BuildError, match="bench two or more"):
        forecast.here(records[:2], models)


def test_a_backend_without_layer_times_is_left_out_by_name(tiny_onnx: Path, make_record: MakeRecord) -> None:
    records = [make_record(net=net, backend="torchscript", precision="fp32") for net in "abc"]
    assert forecast.here(records, dict.fromkeys("abc", tiny_onnx)) == (
        [],
        ["--target here: the torchscript backend gives no per-layer times"],
    )


def test_efficiencies_measured_on_a_gpu_replace_the_defaults(
    tiny_onnx: Path, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[object] = []

    def counted(observations: Sequence[Observation]) -> Fitted:
        fits.append(observations)
        return fit(observations)

    monkeypatch.setattr(forecast, "fit", counted)
    models = dict.fromkeys("abc", tiny_onnx)
    workload = Workload("a", tiny_onnx, "fp32", SIZE)
    (default,) = forecast.on_gpus(["gtx-1080"], [workload], [], models)
    records = [
        make_record((1000 * default.high_ms,), net=net, backend="tensorrt", precision="fp32", height=64, width=64,
                    device="NVIDIA GeForce GTX 1060 6GB")
        for net in "abc"
    ]  # fmt: skip
    measured, _, other, _ = forecast.on_gpus(["gtx-1080", "gtx-1070"], [workload, workload], records, models)
    assert measured.low_ms > 100 * default.high_ms
    assert other.target == "gtx-1070"
    assert len(fits) == 1
    (too_few,) = forecast.on_gpus(["gtx-1080"], [workload], records[:2], models)
    assert too_few == default


def test_an_unknown_target_is_refused_before_the_run() -> None:
    forecast.check_targets(["here", "gtx-1060"], 3)
    with pytest.raises(DeviceError, match="no GPU 'gtx-9999' is known"):
        forecast.check_targets(["gtx-9999"], 1)


def test_default_efficiencies_are_ranges_of_shares() -> None:
    for gpu in facts.gpus().values():
        for precision in PRECISIONS:
            ranges = gpu_efficiency(gpu, precision)
            assert set(ranges) == set(KINDS)
            assert all(0 < one.low < one.high <= 1 for one in ranges.values())
            assert all(isinstance(one, EfficiencyRange) for one in ranges.values())
