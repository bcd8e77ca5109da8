"""A whole bench: what is planned, what an interrupted run keeps, and what is said of what cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from made import MakeBundle

from nstopt.bench import layer_times as layers
from nstopt.bench.harness import BenchProgress, BenchSpec
from nstopt.bench.session import BenchRequest, bench, interrupted, prepare
from nstopt.errors import BuildError, NstoptError
from nstopt.pictures.size import Size
from nstopt.progress import Silent
from nstopt.runs.layers import Bandwidth, Peaks
from nstopt.runs.run_file import read_run, write_run

pytestmark = pytest.mark.usefixtures("short_warm_up")
SIZE = Size(32, 48)


@pytest.fixture
def request_(make_bundle: MakeBundle, tmp_path: Path) -> BenchRequest:
    """Two bundles at one size."""
    return BenchRequest([make_bundle("A"), make_bundle("B")], tmp_path, BenchSpec(runs=2), sizes=[SIZE])


def test_a_run_is_kept_case_by_case_and_goes_on(request_: BenchRequest, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("change", [{"timing": BenchSpec(runs=3)}, {"sizes": [Size(48, 48)]}, {"batches": [2]}])
def test_another_run_is_not_gone_on_with(change: dict[str, object], request_: BenchRequest, tmp_path: Path) -> None:
    def interrupt(progress: BenchProgress) -> None:
        if progress.text.startswith("B.nst"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench(request_, prepare(request_, Silent()), tmp_path / "bench-1.json", interrupt)
    other = replace(request_, **change)  # type: ignore[arg-type]
    assert interrupted(None, tmp_path, other, prepare(other, Silent())) is None


def test_layers_are_part_of_the_run(request_: BenchRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "measure_peaks", lambda _: Peaks(1.0, None, (Bandwidth(1, 1.0),)))
    wanted = replace(request_, layers=True)
    run = bench(wanted, prepare(wanted, Silent()), tmp_path / "run.json")
    assert [(one.label, one.size, one.runs) for one in run.layers] == [("A.nst", SIZE, 2), ("B.nst", SIZE, 2)]
    assert read_run(tmp_path / "run.json") == run


def test_a_backend_without_layers_is_left_out_by_name(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    request = BenchRequest(
        [tiny_onnx], tmp_path, BenchSpec(runs=1), [SIZE], backends=["torchscript"], val=photos, layers=True
    )
    run = bench(request, prepare(request, Silent()), tmp_path / "run.json")
    assert run.layers == ()
    (left_out,) = run.left_out
    assert "the torchscript backend gives no per-layer times" in left_out


def test_targets_add_projected_rows_for_each_precision_and_batch(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    request = BenchRequest(
        [tiny_onnx], tmp_path, BenchSpec(runs=1), [SIZE], ["fp32"], batches=[1, 2], val=photos, targets=["gtx-1060"]
    )
    run = bench(request, prepare(request, Silent()), tmp_path / "run.json")
    assert [(record.precision, record.batch) for record in run.records] == [("fp32", 1), ("fp32", 2)]
    assert [(one.target, one.precision, one.batch) for one in run.projected] == [
        ("gtx-1060", "fp32", 1),
        ("gtx-1060", "fp32", 2),
    ]
    one, two = run.projected
    assert one.high_ms < two.high_ms


def test_a_bundle_cannot_be_built_or_projected_again(request_: BenchRequest) -> None:
    given = {"precisions": ["int8"], "backends": ["all"], "targets": ["gtx-1060"], "calib": Path("photos")}
    for change in ({name: value} for name, value in (given | {"val": Path("photos"), "min_psnr_db": 50.0}).items()):
        with pytest.raises(BuildError, match=r"A.nst: is built already; .* go with a net"):
            prepare(replace(request_, **change), Silent())  # type: ignore[arg-type]


def test_what_cannot_be_is_found_out_before_anything_is_built(tiny_onnx: Path, tmp_path: Path) -> None:
    request = BenchRequest([tiny_onnx], tmp_path, BenchSpec(runs=1), [SIZE])
    other = tmp_path / "other" / tiny_onnx.name
    for change, reason in (
        ({"targets": ["here"]}, "bench three nets or more"),
        ({"paths": [tiny_onnx, other]}, "another net of this run is called tiny too"),
        ({"precisions": ["fp32", "fp8"]}, "unknown precision 'fp8'"),
        ({"precisions": ["fp8"], "backends": ["all"]}, "unknown precision 'fp8'"),
    ):
        with pytest.raises(BuildError, match=reason):
            prepare(replace(request, **change), Silent())
    assert not list(tmp_path.glob("*.nst"))


def test_a_path_that_is_named_twice_is_timed_once(request_: BenchRequest) -> None:
    assert len(prepare(replace(request_, paths=[*request_.paths, *request_.paths]), Silent()).cases) == 2


def test_peers_need_the_nets_own_file(request_: BenchRequest) -> None:
    with pytest.raises(BuildError, match="name it with --checkpoint"):
        prepare(replace(request_, peers=["torch"]), Silent())


def test_a_file_that_cannot_be_written_is_found_out_first(request_: BenchRequest, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NstoptError, match="choose another --json"):
        bench(request_, prepare(request_, Silent()), tmp_path / "file" / "run.json")
