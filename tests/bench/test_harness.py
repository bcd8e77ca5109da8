"""Runs in real processes: complete records, turns in order, and only the case in flight can be lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from made import MakeBundle, MakeRecord

from nstopt.bench.cases import Case, plan_cases
from nstopt.bench.harness import BenchProgress, BenchSpec, run
from nstopt.errors import BundleError, MediaError
from nstopt.pictures.files import write_picture
from nstopt.pictures.size import Size
from nstopt.runs.record import Record

pytestmark = pytest.mark.usefixtures("short_warm_up")
SIZE = Size(32, 48)


def damage(bundle: Path) -> None:
    with (bundle / "model.xml").open("ab") as file:
        file.write(b" ")


def measured(case: Case, make_record: MakeRecord) -> Record:
    """Make a record of a case that was not run."""
    return make_record(**msgspec.structs.asdict(case.info))


def test_a_record_is_complete(make_bundle: MakeBundle, tmp_path: Path) -> None:
    (case,) = plan_cases([make_bundle()], [SIZE], batch=2)
    (record,) = run([case], BenchSpec(runs=7))
    assert record.key == case.info.key
    assert record.bundle == str(tmp_path / "tiny.nst")
    assert (record.label, record.size, record.batch, record.input) == ("tiny.nst", SIZE, 2, "noise")
    assert len(record.latency_ms.samples) == 7
    assert record.round_runs is None
    assert record.warmup_runs >= 6
    assert record.fps == pytest.approx(2000 / record.latency_ms.p50)
    assert record.device == record.machine.cpu
    assert record.machine.cores >= 1
    assert {"numpy", "openvino"} <= set(record.machine.versions)
    assert record.stages
    assert (record.stages.photograph, record.stages.upload_ms, record.stages.download_ms) == (
        "astronaut.png",
        None,
        None,
    )
    around = 2 * (record.stages.decode_ms + record.stages.encode_ms)
    assert record.pipeline_fps == pytest.approx(2000 / (record.latency_ms.p50 + around))


def test_an_image_is_resampled_to_the_size(make_bundle: MakeBundle, tmp_path: Path) -> None:
    image = tmp_path / "photo.png"
    write_picture(image, np.full((60, 40, 3), 9, np.uint8))
    (record,) = run(plan_cases([make_bundle()], [SIZE]), BenchSpec(runs=1, image=image))
    assert record.input == "photo.png"


def test_an_unreadable_image_stops_the_run_before_it_starts(make_bundle: MakeBundle, tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        list(run(plan_cases([make_bundle()], [SIZE]), BenchSpec(image=tmp_path / "none.png")))


@pytest.mark.parametrize(("interleave", "turns"), [(False, "AB"), (True, "ABABABAB")])
def test_turns(interleave: bool, turns: str, make_bundle: MakeBundle) -> None:
    cases = plan_cases([make_bundle("A"), make_bundle("B")], [SIZE])
    seen: list[BenchProgress] = []
    records = list(run(cases, BenchSpec(runs=12, interleave=interleave), on_progress=seen.append))
    assert {record.round_runs for record in records} == {3 if interleave else None}
    timed = [progress.text[0] for progress in seen if progress.text.endswith("timing")]
    assert "".join(now for before, now in zip(["", *timed], timed, strict=False) if now != before) == turns
    work = 24 * SIZE.height * SIZE.width
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, work, work)


def test_cases_with_a_record_are_not_measured_again(make_bundle: MakeBundle, make_record: MakeRecord) -> None:
    cases = plan_cases([make_bundle("A"), make_bundle("B")], [SIZE])
    first = measured(cases[0], make_record)
    seen: list[BenchProgress] = []
    again, other = run(cases, BenchSpec(runs=2), seen.append, earlier=[first])
    assert again is first
    assert other.label == "B.nst"
    assert {progress.text.split(".")[0] for progress in seen} == {"B"}
    assert seen[-1].done == seen[-1].total


def test_a_rebuilt_engine_is_measured_again(make_bundle: MakeBundle, make_record: MakeRecord) -> None:
    first = measured(plan_cases([make_bundle("A")], [SIZE])[0], make_record)
    rebuilt = plan_cases([make_bundle("A", source_sha256="1" * 64)], [SIZE])
    (again,) = run(rebuilt, BenchSpec(runs=1), earlier=[first])
    assert again.sha256 != first.sha256


def test_records_before_a_failure_are_kept(make_bundle: MakeBundle, tmp_path: Path) -> None:
    cases = plan_cases([make_bundle("good"), make_bundle("bad")], [SIZE])
    damage(tmp_path / "bad.nst")
    records = run(cases, BenchSpec(runs=2))
    assert next(records).label == "good.nst"
    with pytest.raises(BundleError, match=r"bad.nst: model.xml does not match its hash"):
        next(records)


@pytest.mark.parametrize("interleave", [False, True])
def test_a_peer_that_fails_is_left_out(interleave: bool, make_bundle: MakeBundle, tmp_path: Path) -> None:
    ours, peer = plan_cases([make_bundle("A"), make_bundle("B")], [SIZE])
    peer = replace(peer, info=msgspec.structs.replace(peer.info, is_peer=True))
    damage(tmp_path / "B.nst")
    left_out: list[str] = []
    seen: list[BenchProgress] = []
    spec = BenchSpec(runs=2, interleave=interleave)
    (record,) = run([ours, peer], spec, seen.append, on_left_out=left_out.append)
    assert (record.label, record.round_runs) == ("A.nst", None)
    assert len(left_out) == 1
    assert left_out[0].startswith("B.nst at 32x48: ")
    assert "model.xml" in left_out[0]
    assert seen[-1].done == seen[-1].total


def test_ctrl_c_ends_the_processes(make_bundle: MakeBundle) -> None:
    def interrupt(progress: BenchProgress) -> None:
        if progress.text == "B.nst at 32x48: timing":
            raise KeyboardInterrupt

    cases = plan_cases([make_bundle("A"), make_bundle("B")], [SIZE])
    before = psutil.Process().children()  # libraries of other tests may keep helper processes
    with pytest.raises(KeyboardInterrupt):
        list(run(cases, BenchSpec(runs=2), interrupt))
    assert [child.cmdline() for child in psutil.Process().children() if child not in before] == []
