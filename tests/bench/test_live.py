"""The figures of live sessions, and a session under load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from live.helpers import SMALL, Inverter

from nstopt.bench import live
from nstopt.bench.live import as_reported, measure_live, project_live
from nstopt.bench.live_load import LoadReport, Window, draw_bar, read_bar, run_load
from nstopt.bundle import Bundle
from nstopt.cli.render.live import live_table, load_table
from nstopt.errors import BundleError, DeviceError
from nstopt.live.barcode import stamp
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size


def test_live_and_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CAPTURE_MS", 20.0)
    engine = Inverter(InputShape.of(1, SMALL), delay_s=0.03)
    sequential, ours = measure_live(engine, seconds=0.7)
    for row in (sequential, ours):
        assert row.net_ms[0] >= 30
    assert sequential.fps[0] <= 1000 / (20 + 30)
    assert ours.fps[0] > sequential.fps[0]
    table = live_table("inverter", [as_reported(), sequential, ours])
    assert table.row_count == 3


def test_a_gpu_that_is_not_here_is_projected_and_marked(tiny_onnx: Path) -> None:
    rows = project_live("tiny", tiny_onnx, Size(512, 512), "gtx-1060")
    assert len(rows) == 4
    assert all("projected" in row.name and "GTX 1060" in row.name for row in rows)
    for sequential, ours in (rows[:2], rows[2:]):
        assert sequential.net_ms == ours.net_ms
        assert sequential.fps[1] == pytest.approx(1000 / (33 + sequential.net_ms[0] + 30))
        assert ours.fps[1] == pytest.approx(1000 / max(33, ours.net_ms[0]))
    with pytest.raises(DeviceError, match="gtx-1"):
        project_live("tiny", tiny_onnx, SMALL, "gtx-1")


def test_a_session_under_load(int8_bundle: Bundle) -> None:
    report = run_load(int8_bundle.path, seconds=3.0, windows=2)
    assert len(report.windows) == 2
    for window in report.windows:
        assert window.frames > 5
        assert 0 < window.p50_ms <= window.p99_ms < 5000
        assert window.memory_mib > 20
    assert report.visits >= 1
    assert load_table("tiny", report).row_count == 2


def test_a_session_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.nst: no such folder"):
        run_load(tmp_path / "none.nst", seconds=1.0)


@pytest.mark.parametrize(("p99_ms", "memory_mib", "flat"), [(105, 101, True), (111, 100, False), (100, 102.1, False)])
def test_flat(p99_ms: float, memory_mib: float, flat: bool) -> None:
    windows = Window(100, 10.0, 50.0, 100.0, 100.0), Window(100, 10.0, 50.0, p99_ms, memory_mib)
    assert LoadReport(windows, 3, 30.0).is_flat is flat


def test_the_cameras_bar_is_read_back() -> None:
    picture = np.zeros((96, 128, 3), np.uint8)
    draw_bar(picture, 4321.987)
    assert read_bar(picture) == stamp(4321.987)
    assert not picture[:, 64:].any()
