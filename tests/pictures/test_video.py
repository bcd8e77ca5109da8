"""Frames of a video file that the test writes itself, and files that are none."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from conftest import write_video

from nstopt.errors import MediaError
from nstopt.pictures.video import frames


@pytest.fixture(scope="module")
def gray_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven gray frames, 32x48, each 30 levels lighter than the one before."""
    pictures = [np.full((32, 48, 3), 20 + 30 * level, np.uint8) for level in range(7)]
    return write_video(tmp_path_factory.mktemp("video") / "gray.mp4", pictures)


@pytest.mark.parametrize(("every", "shown"), [(1, range(7)), (3, (0, 3, 6)), (9, (0,))])
def test_frames_in_order(gray_video: Path, every: int, shown: range | tuple[int, ...]) -> None:
    got = list(frames(gray_video, every))
    assert {(frame.shape, frame.dtype.name) for frame in got} == {((32, 48, 3), "uint8")}
    np.testing.assert_allclose([frame.mean() for frame in got], [20 + 30 * level for level in shown], atol=3)


def test_every_must_be_positive(gray_video: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(frames(gray_video, 0))


def test_files_that_are_no_video(tmp_path: Path, gray_video: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.mp4: no such video"):
        next(frames(tmp_path / "gone.mp4"))
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with pytest.raises(MediaError, match=r"text\.mp4: not a readable video"):
        next(frames(text))
    with pytest.raises(MediaError, match="not a readable video"):
        next(frames(tmp_path))
    short = tmp_path / "short.mp4"
    short.write_bytes(gray_video.read_bytes()[:300])
    with pytest.raises(MediaError, match=r"short\.mp4"):
        list(frames(short))


def test_a_track_without_pictures(tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 160), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(MediaError, match="no picture track"):
        next(frames(sound))


def test_frames_too_small_for_a_net(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="frames are 8x32"):
        next(frames(write_video(tmp_path / "small.mp4", [np.zeros((8, 32, 3), np.uint8)])))
