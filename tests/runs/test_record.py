"""Records survive the disk; a path that cannot be written is found out beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made import MakeRecord, MakeRun

from nstopt.errors import NstoptError
from nstopt.gpu.meter import GpuState
from nstopt.runs.layers import Bandwidth, LayerRow, Layers, Peaks
from nstopt.runs.projected import Projected
from nstopt.runs.record import Stages
from nstopt.runs.run_file import check_writable, read_run, write_run


def test_records_survive_the_disk(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    stages = Stages("a.jpg", 1.0, None, None, 2.0)
    gpu = GpuState(1700.0, 120.0, None, 900.0)
    records = (
        make_record((3.0, 1.0, 2.0), warnings=("a note",), stages=stages, gpu=gpu),
        make_record(psnr_db=None, ssim=None),
    )
    peaks = Peaks(1.0, None, (Bandwidth(1, 2.0),))
    layers = (Layers("wave.nst", "openvino", 32, 48, 1, 3, peaks, (LayerRow("conv", "Convolution", 2.0, None),)),)
    projected = (Projected("wave", "gtx-1060", "A GPU", "tensorrt", "int8", 32, 48, 1, 1.0, 2.0, 30.0),)
    run = make_run(*records, layers=layers, projected=projected, left_out=("tensorrt: no GPU",))
    write_run(tmp_path / "run.json", run)
    assert read_run(tmp_path / "run.json") == run


def test_the_json_has_the_promised_names(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    write_run(tmp_path / "run.json", make_run(make_record((3.0, 1.0, 2.0))))
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["format_version"] == 2
    (record,) = run["records"]
    assert {"net", "family", "backend", "precision", "height", "width", "batch", "fps", "machine"} <= set(record)
    assert {"peak_memory_mib", "psnr_db", "ssim"} <= set(record)
    assert set(record["latency_ms"]) == {"p50", "p90", "p99", "mean", "min", "samples"}
    assert record["latency_ms"]["samples"] == [3.0, 1.0, 2.0]


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"format_version": 7, "records": []}')
    with pytest.raises(NstoptError, match="run format 7, but this nstopt reads format 2"):
        read_run(path)


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 2}'])
def test_a_file_that_is_no_run_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(NstoptError, match="not the record of a bench run"):
        read_run(path)


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "run.json"):
        with pytest.raises(NstoptError, match="choose another --json"):
            check_writable(path)


def test_looking_whether_a_path_can_be_written_leaves_nothing_and_takes_nothing(tmp_path: Path) -> None:
    old = tmp_path / "run.json"
    old.write_text("old")
    check_writable(old)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert old.read_text() == "old"
