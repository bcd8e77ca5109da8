"""A whole bench: its plan, interrupted runs, and notes on what is not available."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made import MakeBundle, MakeRecord

from nstopt.bench import layer_times
from nstopt.bench.harness import BenchProgress, BenchSpec, run_plan
from nstopt.bench.machine import this_machine
from nstopt.bench.session import BenchRequest, PreparedRun, bench, interrupted, prepare
from nstopt.errors import BuildError, DeviceError, NstoptError
from nstopt.pictures.size import Size
from nstopt.progress import Silent
from nstopt.runs.layers import Bandwidth, Peaks
from nstopt.runs.run_file import FORMAT_VERSION, RunFile, read_run, write_run

pytestmark = pytest.mark.usefixtures("short_warm_up")
SIZE = Size(32, 48)


@pytest.fixture
def request_(make_bundle: MakeBundle, tmp_path: Path) -> BenchRequest:
    """Request a bench of two bundles at one size."""
    return BenchRequest([make_bundle("A"), make_bundle("B")], tmp_path, BenchSpec(runs=2), sizes=[SIZE])


def test_a_run_is_saved_case_by_case_and_continued(request_: BenchRequest, tmp_path: Path) -> None:
    def interrupt(progress: BenchProgress) -> None:
        if progress.text == "B.nst at 32x48: timing":
            raise KeyboardInterrupt

    json = tmp_path / "bench-1.json"
    planned = prepare(request_, Silent())
    with pytest.raises(KeyboardInterrupt):
        bench(request_, planned, json, interrupt)
    write_run(json, msgspec.structs.replace(read_run(json), created="2026-01-02T03:04:05+00:00"))
    begun = read_run(json)
    assert [record.label for record in begun.records] == ["A.nst"]
    assert interrupted(json, tmp_path, request_, planned) == (json, begun)
    assert interrupted(None, tmp_path, request_, planned) == (json, begun)
    done = bench(request_, planned, json, earlier=begun)
    assert done.records[0] == begun.records[0]
    assert [record.label for record in done.records] == ["A.nst", "B.nst"]
    assert read_run(json) == done
    assert (done.created, done.is_complete) == (begun.created, True)
    assert interrupted(json, tmp_path, request_, planned) is None


def test_a_run_with_another_plan_is_not_continued(
    request_: BenchRequest, make_record: MakeRecord, tmp_path: Path
) -> None:
    planned = prepare(request_, Silent())
    record = make_record(**msgspec.structs.asdict(planned.cases[0].info), machine=this_machine())
    plan = run_plan(planned.cases, request_.timing)
    begun = RunFile(FORMAT_VERSION, "2026-01-02T03:04:05+00:00", plan, (record,))
    write_run(tmp_path / "bench-1.json", begun)
    assert interrupted(None, tmp_path, request_, planned) == (tmp_path / "bench-1.json", begun)
    others: list[dict[str, Any]] = [{"timing": BenchSpec(runs=3)}, {"sizes": [Size(48, 48)]}, {"batches": [2]}]
    for other in (replace(request_, **change) for change in others):
        assert interrupted(None, tmp_path, other, prepare(other, Silent())) is None


def test_layers_are_part_of_the_run(request_: BenchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_times, "measure_peaks", lambda _: Peaks(1.0, None, (Bandwidth(1, 1.0),)))
    wanted = replace(request_, layers=True)
    run = bench(wanted, prepare(wanted, Silent()), tmp_path / "run.json")
    assert [(one.label, one.size, one.runs) for one in run.layers] == [("A.nst", SIZE, 2), ("B.nst", SIZE, 2)]
    assert read_run(tmp_path / "run.json") == run


def test_a_backend_without_layer_times_is_left_out_by_name(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DeviceError("the openvino backend gives no per-layer times")

    monkeypatch.setattr(layer_times, "measure_layers", refuse)
    request = BenchRequest([make_bundle("A")], tmp_path, BenchSpec(runs=1), [SIZE], layers=True)
    run = bench(request, prepare(request, Silent()), tmp_path / "run.json")
    assert run.layers == ()
    assert run.left_out == ("layers of A.nst at 32x48: the openvino backend gives no per-layer times",)


def test_targets_add_projected_rows_for_each_precision_and_batch(tiny_onnx: Path, tmp_path: Path) -> None:
    gpus = ["gtx-1070", "gtx-1060"]
    request = BenchRequest(
        [tiny_onnx], tmp_path, BenchSpec(runs=1), [SIZE], ["fp32", "int8"], batches=[1, 2], targets=gpus
    )
    run = bench(request, PreparedRun([], {"tiny": tiny_onnx}, ()), tmp_path / "run.json")
    assert [(one.target, one.batch, one.precision) for one in run.projected] == [
        *[("gtx-1070", batch, precision) for batch in (1, 2) for precision in ("fp32", "int8")],
        *[("gtx-1060", batch, precision) for batch in (1, 2) for precision in ("fp32", "int8")],
    ]


def test_a_bundle_cannot_be_built_or_projected_again(request_: BenchRequest) -> None:
    given = {"precisions": ["int8"], "backends": ["all"], "targets": ["gtx-1060"], "calib": Path("photos")}
    for change in ({name: value} for name, value in (given | {"val": Path("photos"), "min_psnr_db": 50.0}).items()):
        with pytest.raises(BuildError, match=r"A.nst: this engine is built already; .* go with a net"):
            prepare(replace(request_, **change), Silent())  # type: ignore[arg-type]


def test_impossible_requests_are_refused_before_anything_is_built(tiny_onnx: Path, tmp_path: Path) -> None:
    request = BenchRequest([tiny_onnx], tmp_path, BenchSpec(runs=1), [SIZE])
    other = tmp_path / "other" / tiny_onnx.name
    for change, reason in (
        ({"targets": ["here"]}, "bench three nets or more"),
        ({"paths": [tiny_onnx, other]}, "another net of this run is also called tiny"),
        ({"precisions": ["fp32", "fp8"]}, "unknown precision 'fp8'"),
        ({"precisions": ["fp8"], "backends": ["all"]}, "unknown precision 'fp8'"),
    ):
        with pytest.raises(BuildError, match=reason):
            prepare(replace(request, **change), Silent())
    assert not list(tmp_path.glob("*.nst"))


def test_a_path_given_twice_is_timed_once(request_: BenchRequest) -> None:
    assert len(prepare(replace(request_, paths=[*request_.paths, *request_.paths]), Silent()).cases) == 2


def test_peers_need_the_nets_own_file(request_: BenchRequest) -> None:
    with pytest.raises(BuildError, match="name it with --checkpoint"):
        prepare(replace(request_, peers=["torch"]), Silent())


def test_a_file_that_cannot_be_written_is_refused_first(request_: BenchRequest, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NstoptError, match="choose another --json"):
        bench(request_, prepare(request_, Silent()), tmp_path / "file" / "run.json")
