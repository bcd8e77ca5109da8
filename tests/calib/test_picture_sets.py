"""Picture sets: calibration and validation pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import noise, write_video
from hypothesis import given
from hypothesis import strategies as st

from nstopt.calib.picture_sets import (
    CLIP_FRAMES,
    MAX_CALIBRATION,
    MAX_HELD_OUT,
    VIDEO_FRAMES,
    PictureSet,
    at_most,
    clip,
    demo,
    from_folder,
    from_path,
    split,
)
from nstopt.errors import CalibrationError, MediaError
from nstopt.pictures.size import Size


def numbered(count: int) -> PictureSet:
    names = [f"{number:03}.png" for number in range(count)]
    return PictureSet("numbered", tuple(f"digest {name}" for name in names), tuple(map(Path, names)))


@given(st.integers(2, 300))
def test_no_picture_both_calibrates_and_validates(count: int) -> None:
    pictures = numbered(count)
    calibration, held_out = split(pictures)
    assert not set(calibration.pictures) & set(held_out.pictures)
    assert len(calibration.pictures) == min(MAX_CALIBRATION, count - max(1, count // 5))
    assert len(held_out.pictures) == min(MAX_HELD_OUT, max(1, count // 5))
    assert set(calibration.pictures) | set(held_out.pictures) <= set(pictures.pictures)
    assert split(pictures) == (calibration, held_out)
    assert calibration.source == pictures.source
    assert len({pictures.sha256, calibration.sha256, held_out.sha256}) == 3
    assert calibration.digests == tuple(f"digest {path}" for path in calibration.pictures)


def test_pictures_are_evenly_spaced() -> None:
    chosen = [int(str(path)[:3]) for path in at_most(numbered(100), 10).pictures if isinstance(path, Path)]
    assert chosen == list(range(0, 100, 10))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures(count: int) -> None:
    with pytest.raises(CalibrationError, match=r"numbered: one picture is not enough .* with --val$"):
        split(numbered(count))


def test_the_hash_covers_names_and_bytes(photos: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    assert from_folder(copy).sha256 == from_folder(photos).sha256
    data = bytearray((copy / "3.png").read_bytes())
    data[-1] ^= 1
    (copy / "3.png").write_bytes(data)
    assert from_folder(copy).sha256 != from_folder(photos).sha256
    shutil.copyfile(photos / "3.png", copy / "3.png")
    (copy / "3.png").rename(copy / "4b.png")
    assert from_folder(copy).sha256 != from_folder(photos).sha256


def test_pictures_are_loaded_at_the_size_asked_for(photos: Path) -> None:
    loaded = list(from_folder(photos).load(Size(20, 50)))
    assert [picture.shape for picture in loaded] == [(20, 50, 3)] * 6
    arrays = PictureSet("arrays", ("",), (noise(20, 50),))
    np.testing.assert_array_equal(next(arrays.load(Size(20, 50))), noise(20, 50))


def test_folders_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CalibrationError, match="no pictures in this folder; give one with some dozens of photographs"):
        from_folder(tmp_path)
    with pytest.raises(MediaError, match="no such folder of pictures"):
        from_folder(tmp_path / "no")
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(MediaError, match=r"bad\.png: not a picture"):
        list(from_folder(tmp_path).load(Size(20, 50)))


def test_the_demo_set_names_its_source() -> None:
    pictures = demo()
    assert pictures.source == "scikit-image's photographs"
    assert demo().sha256 == pictures.sha256
    assert len(pictures.pictures) == 6


def video(path: Path, count: int) -> Path:
    """Write a video of frames from black to white."""
    levels = np.linspace(0, 255, count).astype(np.uint8)
    return write_video(path, [np.full((32, 32, 3), level, np.uint8) for level in levels])


def test_a_video_gives_evenly_spaced_frames(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.mp4", 100)
    pictures = from_path(path)
    assert len(pictures.pictures) == VIDEO_FRAMES
    assert pictures.source == str(path)
    assert pictures.digests[1].endswith("frame 2")
    levels = [float(picture.mean()) for picture in pictures.load(Size(32, 32))]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 150  # from its beginning to near its end
    assert from_path(path).sha256 == pictures.sha256


def test_a_clip_has_consecutive_frames(tmp_path: Path) -> None:
    frames = [digest.split()[-1] for digest in clip(video(tmp_path / "long.mp4", 60)).digests]
    assert frames == [str(i) for i in range(6, 6 + CLIP_FRAMES)]
    assert len(clip(video(tmp_path / "short.mp4", 5)).pictures) == 5
    with pytest.raises(CalibrationError, match="drift is measured from frame to frame, but this video has only one"):
        clip(video(tmp_path / "one.mp4", 1))


def test_files_that_are_no_video_are_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"not a video")
    for read in (from_path, clip):
        with pytest.raises(MediaError, match=r"clip\.mp4: not a readable video"):
            read(tmp_path / "clip.mp4")
