"""A cluster of two workers on this machine, one of which is killed: nothing is lost, nothing is done twice."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import noise
from made import build_inverter
from PIL import Image

import nstopt
from nstopt.cluster import client
from nstopt.cluster.client import Placement, connected, place, ray
from nstopt.cluster.pictures import stylize_pictures
from nstopt.cluster.video import stylize_video
from nstopt.cluster.work import TRIES, Lost, do_all
from nstopt.errors import BundleError, DeviceError, MediaError
from nstopt.media.jobs import list_jobs
from nstopt.media.stylize import run
from nstopt.video.journal import Journal
from nstopt.video.pipeline import SegmentResult
from nstopt.video.plan import VideoJob, plan_video
from nstopt.video.stylize import stylize_video as stylize_here
from nstopt.video.stylizer import EngineStylizer

TWO = Placement(2, {"num_cpus": 1})


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two CPUs. What Ray leaves in a home stays out of the user's, and workers get this module's classes by value."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_inverter(tmp_path_factory.mktemp("inverter"))


class Deadly:
    """Notes each task in a file and then does it; "die" kills the worker each time, "die once" the first time."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def work(self, task: str) -> str:
        with self._notes.open("a") as file:
            file.write(f"{task}\n")
        if task == "die" or (task == "die once" and self._notes.read_text().count("die once") == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "raise":
            raise MediaError("a file that cannot be read")
        time.sleep(0.01)
        return task.upper()


def test_what_a_killed_worker_had_is_done_by_another_one(tmp_path: Path) -> None:
    tasks = [*map(str, range(10)), "die once"]
    done = list(do_all(tasks, Deadly, (tmp_path / "notes",), TWO))
    assert sorted(done) == sorted((task, task.upper()) for task in tasks)
    assert sorted((tmp_path / "notes").read_text().splitlines()) == sorted([*tasks, "die once"])


def test_a_task_that_kills_workers_is_given_up(tmp_path: Path) -> None:
    done = dict(do_all(["a", "die", "b"], Deadly, (tmp_path / "notes",), TWO))
    assert (done["a"], done["b"]) == ("A", "B")
    assert isinstance(done["die"], Lost)
    assert (tmp_path / "notes").read_text().count("die") == TRIES


def test_errors_arrive_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"^a file that cannot be read$"):
        list(do_all(["raise"], Deadly, (tmp_path / "notes",), TWO))


def test_a_folder(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        Image.fromarray(noise(40 + number, 60, number)).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "bad.png").write_text("no picture")
    jobs = list_jobs(tmp_path / "in", tmp_path / "out", False)
    done = {result.job: result for result in stylize_pictures(bundle, jobs, False, TWO)}
    with nstopt.load(bundle) as engine:
        expected = list(run(engine, list_jobs(tmp_path / "in", tmp_path / "here", False), False))
    assert [done[job].size for job in jobs] == [one.size for one in expected]
    assert [str(done[job].error) for job in jobs] == [str(one.error) for one in expected]
    assert len(list((tmp_path / "out").iterdir())) == 6
    for path in (tmp_path / "here").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def kill_a_worker(name: str) -> None:
    """Kill the process of a worker of this class, of which there are two."""
    workers = [
        process for process in psutil.process_iter(["cmdline"]) if f"ray::{name}" in str(process.info["cmdline"])
    ]
    assert len(workers) == 2
    workers[0].kill()


def test_a_video_with_a_killed_worker_and_an_interruption(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from video.clips import make_clip

    monkeypatch.setattr("nstopt.video.segments.SEGMENT_FRAMES", 3)
    source = make_clip(tmp_path / "in.mp4", frames=23)
    committed: list[int] = []
    commit = Journal.commit

    def note(journal: Journal, result: SegmentResult) -> None:
        committed.append(result.number)
        commit(journal, result)
        if len(committed) == 1:
            kill_a_worker("SegmentWorker")
        if len(committed) == 3:
            raise MediaError("the disk is full")

    with nstopt.load(bundle) as engine:
        stylizer = EngineStylizer(engine, bundle)
        here = plan_video(VideoJob(source, tmp_path / "here.mp4"))
        stylize_here(here, stylizer)
        plan = plan_video(VideoJob(source, tmp_path / "there.mp4"))
        monkeypatch.setattr(Journal, "commit", note)
        with pytest.raises(MediaError, match="the disk is full"):
            stylize_video(plan, stylizer, bundle, placement=TWO)
        result = stylize_video(plan, stylizer, bundle, placement=TWO)
    assert sorted(committed) == list(range(8))
    assert result.frames == 23
    assert result.resumed in (8, 9)  # the last of the 8 segments is shorter
    assert (tmp_path / "there.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes()


def test_engines_and_clusters_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("")
    jobs = list_jobs(tmp_path / "a.png", tmp_path / "b.png", False)
    with pytest.raises(BundleError, match="no such folder"):
        list(stylize_pictures(tmp_path / "no.nst", jobs, False, TWO))
    assert place("openvino").workers == 1
    with pytest.raises(DeviceError, match="has no GPU"):
        place("tensorrt")
    with pytest.raises(OSError, match="refused"):
        client._reach("127.0.0.1:1")
    with connected("this is ignored: the cluster of the fixture"):
        assert np.isclose(ray.cluster_resources()["CPU"], 2)
