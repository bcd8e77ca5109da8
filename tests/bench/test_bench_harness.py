"""Runs of real processes: complete records, turns in order, and nothing lost but the case in flight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest

from nstopt.bench.cases import plan_cases
from nstopt.bench.harness import BenchSpec, Progress, run
from nstopt.bench.record import read_run
from nstopt.errors import BundleError, MediaError
from nstopt.pictures import write_picture
from nstopt.size import Size

from .conftest import MakeBundle

pytestmark = pytest.mark.usefixtures("short_warm_up")
SIZE = Size(32, 48)


def damage(bundle: Path) -> None:
    with (bundle / "model.xml").open("ab") as file:
        file.write(b" ")


def test_a_record_is_complete(make_bundle: MakeBundle, tmp_path: Path) -> None:
    json_path = tmp_path / "out" / "run.json"
    (record,) = run(plan_cases([make_bundle()], [SIZE], batch=2), BenchSpec(runs=7), json_path)
    assert read_run(json_path) == (record,)
    assert (record.label, record.size, record.batch, record.input) == ("tiny.nst", SIZE, 2, "noise")
    assert len(record.latency_ms.samples) == 7
    assert record.warmup_runs >= 6
    assert record.fps == pytest.approx(2000 / record.latency_ms.p50)
    assert record.device == record.machine.cpu
    assert record.machine.cores >= 1
    assert {"numpy", "openvino"} <= set(record.machine.versions)


def test_an_image_is_brought_to_the_size(make_bundle: MakeBundle, tmp_path: Path) -> None:
    image = tmp_path / "photo.png"
    write_picture(image, np.full((60, 40, 3), 9, np.uint8))
    (record,) = run(plan_cases([make_bundle()], [SIZE]), BenchSpec(runs=1, image=image))
    assert record.input == "photo.png"


def test_an_unreadable_image_stops_the_run_before_it_starts(make_bundle: MakeBundle, tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        list(run(plan_cases([make_bundle()], [SIZE]), BenchSpec(image=tmp_path / "none.png")))


@pytest.mark.parametrize(("interleave", "turns"), [(False, "AB"), (True, "ABABAB")])
def test_turns(interleave: bool, turns: str, make_bundle: MakeBundle) -> None:
    cases = plan_cases([make_bundle("A"), make_bundle("B")], [SIZE])
    seen: list[Progress] = []
    list(run(cases, BenchSpec(runs=12, interleave=interleave), on_progress=seen.append))
    timed = [progress.text[0] for progress in seen if progress.text.endswith("timing")]
    assert "".join(now for before, now in zip(["", *timed], timed, strict=False) if now != before) == turns
    assert (seen[0].done_runs, seen[-1].done_runs, seen[-1].total_runs) == (0, 24, 24)


def test_what_was_measured_before_a_failure_is_kept(make_bundle: MakeBundle, tmp_path: Path) -> None:
    cases = plan_cases([make_bundle("good"), make_bundle("bad")], [SIZE])
    damage(tmp_path / "bad.nst")
    json_path = tmp_path / "run.json"
    records = run(cases, BenchSpec(runs=2), json_path)
    first = next(records)
    with pytest.raises(BundleError, match=r"bad.nst: model.xml does not match its hash"):
        next(records)
    assert read_run(json_path) == (first,)


def test_ctrl_c_ends_the_processes_and_keeps_what_was_measured(make_bundle: MakeBundle, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.text == "B.nst at 32x48: timing":
            raise KeyboardInterrupt

    cases = plan_cases([make_bundle("A"), make_bundle("B")], [SIZE])
    json_path = tmp_path / "run.json"
    with pytest.raises(KeyboardInterrupt):
        list(run(cases, BenchSpec(runs=2), json_path, interrupt))
    assert [record.label for record in read_run(json_path)] == ["A.nst"]
    assert not psutil.Process().children()
