"""The capture thread with a camera that stutters, is unplugged, comes back, and changes its size."""

from __future__ import annotations

from pathlib import Path

import pytest

from live.helpers import SimulatedCamera, gray, new_session, running, wait_for
from nstopt.errors import MediaError
from nstopt.live import capture
from nstopt.live.session import Session
from nstopt.live.shots import Stylized
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "RECONNECT_S", 0.02)


def shows(session: Session, value: int, size: Size) -> bool:
    """Return True if the picture on display is the inversion of this gray, of this size."""
    latest: Stylized | None = session.pipeline.results.latest
    return latest is not None and latest.picture.shape[:2] == size and int(latest.picture[0, 0, 0]) == 255 - value


def test_a_camera_that_is_unplugged_is_waited_for(tmp_path: Path) -> None:
    gone = MediaError("camera: cannot be read: no such device")
    frames: list[Picture | float | MediaError] = [gray(10), 0.05, gray(20), gone, gone, 0.1, gray(30), 0.3, gray(40)]
    said: list[str] = []
    with running(new_session(tmp_path, source=SimulatedCamera(frames), say=said.append)) as session:
        wait_for(lambda: session.capture.state)
        assert session.status().notice == "camera: cannot be read: no such device; waiting for it to come back"
        wait_for(lambda: shows(session, 30, Size(96, 128)))
        assert session.status().notice == ""
        wait_for(lambda: shows(session, 40, Size(96, 128)))
    assert said[:2] == [f"{gone}; waiting for it to come back", "simulated camera is back"]


def test_a_camera_may_change_its_size_and_stutter(tmp_path: Path) -> None:
    sizes = (Size(96, 128), Size(64, 48), Size(33, 51), Size(120, 160))
    frames = [
        frame for number, size in enumerate(sizes) for frame in (gray(number, size), 0.01, gray(number, size), 0.1)
    ]
    with running(new_session(tmp_path, source=SimulatedCamera(frames))) as session:
        wait_for(lambda: shows(session, 3, Size(120, 160)))
        assert session.status().camera_size == Size(120, 160)
        assert session.pipeline.error is None


def test_a_source_that_ends_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    source = SimulatedCamera([gray(1), gray(2)], reconnects=False)
    with running(new_session(tmp_path, source=source, say=said.append)) as session:
        assert session.capture.ended.wait(5)
    assert said == ["simulated camera has ended"]


def test_a_source_without_a_frame_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="simulated camera: it has no frame"):
        new_session(tmp_path, source=SimulatedCamera([])).start()


def test_a_file_that_breaks_off_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    source = SimulatedCamera([gray(1), MediaError("clip.mp4: cannot be read: invalid data")], reconnects=False)
    with running(new_session(tmp_path, source=source, say=said.append)) as session:
        assert session.capture.ended.wait(5)
    assert said == ["clip.mp4: cannot be read: invalid data"]
