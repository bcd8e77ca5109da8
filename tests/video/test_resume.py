"""Work that was killed, interrupted, or belongs to another command; stylizers with a state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nstopt.engines.engine import Engine
from nstopt.errors import DeviceError, MediaError
from nstopt.pictures.files import Picture
from nstopt.video.journal import Journal, journal_folder, open_journal
from nstopt.video.pipeline import SegmentResult, stylize_segment
from nstopt.video.plan import VideoJob, VideoPlan, plan_video
from nstopt.video.stylize import finish, stylize_video
from nstopt.video.stylizer import EngineStylizer

from .clips import make_clip, pictures_of, times_of
from .conftest import Stylize


class Running:
    """A stylizer with a memory: each frame is blended with the result before it. Fails at frame `fails_at`."""

    in_flight, identity = 1, "running mean"

    def __init__(self, fails_at: int | None = None, error: type[BaseException] = DeviceError) -> None:
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._count, self._fails_at, self._error = 0, fails_at, error

    def submit(self, picture: Picture) -> Running._Done:
        if self._count == self._fails_at:
            raise self._error("stopped")
        self._count += 1
        self._mean = picture * 0.25 + self._mean * 0.75 if self._mean.size else picture.astype(float)
        return self._Done(self._mean.astype(np.uint8))

    def state(self) -> bytes:
        return self._mean.tobytes()

    def restore(self, state: bytes) -> None:
        self._mean = np.frombuffer(state).reshape(48, 64, 3) if state else np.zeros(0)

    class _Done:
        def __init__(self, picture: Picture) -> None:
            self._picture = picture

        def result(self) -> Picture:
            return self._picture


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 frames with keyframes where no segment begins."""
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", frames=200, keys_every=37, sound=1)


def same_frames(one: Path, other: Path) -> bool:
    pairs = zip(pictures_of(one), pictures_of(other), strict=True)
    return times_of(one) == times_of(other) and all(np.array_equal(*pair) for pair in pairs)


def planned(source: Path, target: Path) -> VideoPlan:
    return plan_video(VideoJob(source, target))


@pytest.mark.parametrize("fails_at", [5, 60, 133, 199])
def test_a_failed_run_is_continued(tmp_path: Path, source: Path, fails_at: int) -> None:
    whole, plan = planned(source, tmp_path / "whole.mp4"), planned(source, tmp_path / "out.mp4")
    stylize_video(whole, Running())
    with pytest.raises(DeviceError, match="stopped"):
        stylize_video(plan, Running(fails_at))
    assert not plan.job.target.exists()
    result = stylize_video(plan, Running())
    assert 0 <= fails_at - result.resumed < 120
    assert same_frames(whole.job.target, plan.job.target)
    assert not journal_folder(plan.job.target).exists()


def test_ctrl_c_leaves_a_playable_file(tmp_path: Path, source: Path) -> None:
    plan = planned(source, tmp_path / "out.mp4")
    result = stylize_video(plan, Running(100, KeyboardInterrupt))
    assert (result.is_interrupted, result.damage) == (True, None)
    assert 90 <= result.frames <= 100
    assert times_of(plan.job.target) == times_of(source)[: result.frames]
    assert result.seconds == pytest.approx(result.frames / 25)
    assert stylize_video(plan, Running()).resumed == 60
    whole = planned(source, tmp_path / "whole.mp4")
    stylize_video(whole, Running())
    assert same_frames(whole.job.target, plan.job.target)
    with pytest.raises(KeyboardInterrupt):
        stylize_video(planned(source, tmp_path / "none.mp4"), Running(0, KeyboardInterrupt))
    assert not (tmp_path / "none.mp4").exists()


def test_segments_may_be_made_in_any_order(
    tmp_path: Path, source: Path, engine: Engine, inverter_bundle: Path, stylize: Stylize
) -> None:
    stylize(source, tmp_path / "whole.mp4")
    plan = planned(source, tmp_path / "out.mp4")
    journal = open_journal(plan, "one")
    for segment in reversed(plan.segments):
        stylizer = EngineStylizer(engine, inverter_bundle)
        result = stylize_segment(plan, segment.number, stylizer, journal.draft(segment.number))
        journal.commit(result)
        assert result.frames == segment.frames
    assert journal.missing(plan.segments) == []
    assert finish(plan, journal, 0).frames == 200
    assert same_frames(tmp_path / "whole.mp4", plan.job.target)


def test_a_journal_belongs_to_one_command(tmp_path: Path) -> None:
    identity = {"source": "a", "engine": "b"}
    folder = tmp_path / "out.mp4.nstopt"
    journal = Journal(folder, identity, ".mp4")
    with pytest.raises(MediaError, match="another nstopt is working on this output"):
        Journal(folder, identity, ".mp4")
    journal.draft(0).write_bytes(b"segment")
    journal.commit(SegmentResult(0, 60, 2, None, b"state"))
    journal.draft(1).write_bytes(b"half a segm")
    journal.close()
    with pytest.raises(MediaError, match="another command \\(its engine differs\\)"):
        Journal(folder, {**identity, "engine": "c"}, ".mp4")
    again = Journal(folder, identity, ".mp4")
    assert list(again.results) == [0]
    assert not again.draft(1).exists()
    assert again.state_before(1) == b"state"
    again.remove()
    assert not folder.exists()
    folder.mkdir()
    (folder / "journal.json").write_text("{")
    with pytest.raises(MediaError, match="not a journal that this nstopt reads"):
        Journal(folder, identity, ".mp4")


def started(bundle: Path, source: Path, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nstopt", "stylize", str(bundle), str(source), "-o", str(target)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, running: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert running.poll() is None
        time.sleep(0.002)


def test_the_command_goes_on_after_kill_9(tmp_path: Path, inverter_bundle: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=320, size=(96, 128), keys_every=250)
    stylize(source, tmp_path / "whole.mp4")
    with started(inverter_bundle, source, tmp_path / "out.mp4") as running:
        wait_for(tmp_path / "out.mp4.nstopt" / "00001.json", running)
        os.kill(running.pid, signal.SIGKILL)
    assert not (tmp_path / "out.mp4").exists()
    with started(inverter_bundle, source, tmp_path / "out.mp4") as running:
        out, err = running.communicate()
    assert (running.returncode, err) == (0, "")
    assert "320 frames of 96x128, " in out
    assert " of them before" in out
    assert same_frames(tmp_path / "whole.mp4", tmp_path / "out.mp4")


def test_the_command_after_ctrl_c(tmp_path: Path, inverter_bundle: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=320, size=(96, 128), keys_every=250)
    with started(inverter_bundle, source, tmp_path / "out.mp4") as running:
        wait_for(tmp_path / "out.mp4.nstopt" / "00000.json", running)
        os.kill(running.pid, signal.SIGINT)
        out, err = running.communicate()
    assert running.returncode == 130
    shown = len(times_of(tmp_path / "out.mp4"))
    assert 60 <= shown < 320
    assert out.startswith(f"wrote {tmp_path / 'out.mp4'}: {shown} frames of 96x128")
    assert err == f"interrupted after {shown} of 320 frames; to go on, give the same command again\n"
