"""Sources: what they give, when, and what is said of those that cannot be opened."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from conftest import noise, write_video

from live.helpers import SMALL
from nstopt.errors import MediaError
from nstopt.live import sources
from nstopt.live.sources import Camera, Clip, MovingPicture, Stream, find_source, first_camera


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three frames at 10 FPS."""
    return write_video(tmp_path / "clip.avi", [noise(48, 64, seed) for seed in range(3)])


def test_a_clip_comes_at_its_own_speed_and_ends(clip: Path) -> None:
    """Frames are never early. They are late on a busy machine."""
    shots = list(Clip(clip).shots())
    assert [shot.size for shot in shots] == [(48, 64)] * 3
    first, second, third = (shot.captured for shot in shots)
    assert second - first > 0.04
    assert third - first > 0.14


def test_a_clip_loops(clip: Path) -> None:
    assert len(list(itertools.islice(Clip(clip, loop=True).shots(), 5))) == 5


def test_the_test_picture_moves_at_its_rate() -> None:
    first, *_, last = itertools.islice(MovingPicture(SMALL, fps=50.0).shots(), 6)
    assert first.size == SMALL
    assert last.captured - first.captured == pytest.approx(0.1, abs=0.05)
    pictures = [shot.frame.to_ndarray(format="rgb24").astype(int) for shot in (first, last)]
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.1


def test_what_a_source_is_called(clip: Path) -> None:
    assert find_source("test") == MovingPicture()
    assert find_source(str(clip), loop=True) == Clip(clip, loop=True)
    assert find_source("0") == Camera(Path("/dev/video0"))
    stream = find_source("rtsp://me:secret@host/live")
    assert isinstance(stream, Stream)
    assert stream.name == "stream rtsp://host/live"


def test_what_cannot_be_opened_is_said(tmp_path: Path, clip: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[:300])
    for source, reason in (
        (Clip(text), "text.mp4: cannot be read"),
        (Clip(cut), "cut.avi: cannot be read"),
        (Clip(tmp_path / "none.mp4"), "no such video"),
        (Stream("http://127.0.0.1:9/none"), "stream http://127.0.0.1:9/none: cannot be read"),
        (Camera(tmp_path / "video7"), "no such camera"),
    ):
        with pytest.raises(MediaError, match=reason):
            list(source.shots())
    with pytest.raises(MediaError, match="neither a video file nor an address"):
        find_source(str(tmp_path / "none.mp4"))


def test_frames_that_are_too_small_are_refused(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.avi", [noise(8, 64)])
    with pytest.raises(MediaError, match="its frames are 8x64"):
        list(Clip(small).shots())


def test_cameras_that_are_here_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CAMERAS", tmp_path)
    with pytest.raises(MediaError, match="none is connected; --source test"):
        Camera(tmp_path / "video0").shots()
    for number in (10, 2):
        (tmp_path / f"video{number}").touch()  # no camera: it cannot be opened
    with pytest.raises(MediaError, match=r"there are: .*video2, .*video10"):
        Camera(tmp_path / "video0").shots()
    assert first_camera() is None
