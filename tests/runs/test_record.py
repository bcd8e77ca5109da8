"""Run files: what is written is read again, and a path that cannot be written is refused beforehand."""

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


def test_a_run_is_read_as_it_was_written(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    stages = Stages("a.jpg", 1.0, None, None, 2.0)
    gpu = GpuState(1700.0, 120.0, None, 900.0)
    records = (
        make_record((3.0, 1.0, 2.0), warnings=("a note",), stages=stages, gpu=gpu),
        make_record(psnr_db=None, ssim=None),
    )
    peaks = Peaks(1.0, None, (Bandwidth(1, 2.0),))
    rows = (LayerRow("conv", "Convolution", 2.0, None),)
    layers = (Layers("wave.nst", "a" * 64, 32, 48, 1, "openvino", 3, peaks, rows),)
    projected = (Projected("wave", "gtx-1060", "A GPU", "tensorrt", "int8", 32, 48, 1, 1.0, 2.0, 30.0),)
    run = make_run(*records, layers=layers, projected=projected, left_out=("tensorrt: no GPU",))
    write_run(tmp_path / "run.json", run)
    assert read_run(tmp_path / "run.json") == run


def test_the_json_has_the_promised_names(make_record: MakeRecord, make_run: MakeRun, tmp_path: Path) -> None:
    write_run(tmp_path / "run.json", make_run(make_record((3.0, 1.0, 2.0))))
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["format_version"] == 3
    (record,) = run["records"]
    assert {"net", "family", "backend", "precision", "height", "width", "batch", "fps", "machine"} <= set(record)
    assert {"peak_memory_mib", "psnr_db", "ssim"} <= set(record)
    assert set(record["latency_ms"]) == {"p50", "p90", "p99", "mean", "min", "samples"}
    assert record["latency_ms"]["samples"] == [3.0, 1.0, 2.0]


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"format_version": 2, "records": []}')
    with pytest.raises(NstoptError, match="it has format 2, but this nstopt reads format 3; run the benchmark again"):
        read_run(path)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"format_version": 3}', b'{"format_version": "\xff"}'])
def test_a_file_that_is_no_run_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(raw)
    with pytest.raises(NstoptError, match="not a run that this nstopt can read"):
        read_run(path)


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "run.json"):
        with pytest.raises(NstoptError, match="choose another --json"):
            check_writable(path)


def test_the_check_leaves_the_folder_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "run.json"
    old.write_text("old")
    check_writable(old)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("net", name) for name in ("../../EVIL", "..", "", "a/b", "a\0b", "\x1b[31m", "x" * 300)),
        *(("height", number) for number in (0, -1, 10**20)),
        *(("fps", number) for number in (0, -1, 1e300)),
        *(("psnr_db", number) for number in (-1, 1e9)),
    ],
)
def test_values_out_of_range_are_refused(
    tmp_path: Path, make_record: MakeRecord, make_run: MakeRun, field: str, value: object
) -> None:
    path = tmp_path / "run.json"
    write_run(path, make_run(make_record()))
    read_run(path)
    run = json.loads(path.read_bytes())
    run["records"][0][field] = value
    path.write_text(json.dumps(run))
    with pytest.raises(NstoptError, match=rf"not a run that this nstopt can read: .*{field}"):
        read_run(path)
