"""Recordings play, at the times of the capture, whatever size the net goes to."""

from __future__ import annotations

import time
from pathlib import Path

import av
import pytest

from live.helpers import SMALL, gray, new_session, running, wait_for
from nstopt.errors import MediaError, NstoptError
from nstopt.live.recording import Recording
from nstopt.live.shots import Stylized
from nstopt.live.slot import Broadcast
from nstopt.pictures.size import Size


def publish(results: Broadcast[Stylized], recording: Recording, value: int, size: Size, captured: float) -> None:
    """Publish a picture and wait until it is recorded."""
    count = recording.frames
    results.publish(Stylized(gray(value, size), gray(0, size), "style", captured))
    wait_for(lambda: recording.frames > count)


def test_it_plays_with_the_times_of_the_capture(tmp_path: Path) -> None:
    results: Broadcast[Stylized] = Broadcast()
    recording = Recording(results, tmp_path / "out" / "live.mp4")
    values, times = (0, 100, 200, 250), (5.0, 5.1, 5.25, 5.3)
    for value, captured, size in zip(values, times, (SMALL, SMALL, Size(48, 64), SMALL), strict=True):
        publish(results, recording, value, size, captured)
    path = recording.stop()
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [(frame.height, frame.width) for frame in frames] == [SMALL] * 4
    assert [frame.time for frame in frames] == pytest.approx([captured - 5 for captured in times], abs=1e-3)
    means = [float(frame.to_ndarray(format="rgb24").mean()) for frame in frames]
    assert means == pytest.approx(values, abs=3)


def test_what_is_on_disk_before_the_end_plays(tmp_path: Path) -> None:
    results: Broadcast[Stylized] = Broadcast()
    recording = Recording(results, tmp_path / "live.mp4")
    for number in range(70):
        publish(results, recording, number, SMALL, number / 30)
    copy = tmp_path / "killed.mp4"
    copy.write_bytes(recording.path.read_bytes())
    recording.stop()
    with av.open(str(copy)) as container:
        assert len(list(container.decode(video=0))) >= 30


def test_errors(tmp_path: Path) -> None:
    results: Broadcast[Stylized] = Broadcast()
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="cannot be written"):
        Recording(results, tmp_path / "file" / "live.mp4")
    with pytest.raises(MediaError, match="no frame came"):
        Recording(results, tmp_path / "empty.mp4").stop()
    assert not (tmp_path / "empty.mp4").exists()


def test_a_session_records_once_at_a_time(tmp_path: Path) -> None:
    said: list[str] = []
    with running(new_session(tmp_path, say=said.append)) as session:
        with pytest.raises(NstoptError, match="nothing is being recorded"):
            session.stop_recording()
        session.start_recording()
        with pytest.raises(NstoptError, match="is being recorded already"):
            session.start_recording()
        time.sleep(0.3)
        first = session.stop_recording()
        second = session.start_recording()
        assert first != second
        time.sleep(0.2)
    assert [line.split(":")[0] for line in said] == [f"wrote {first}", f"wrote {second}"]
    assert first.stat().st_size > 0
