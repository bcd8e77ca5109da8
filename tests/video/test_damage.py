"""Clips of few frames, damaged ones, and disks that are full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from nstopt.errors import MediaError
from nstopt.video.journal import journal_folder

from .clips import make_clip, packets_of, pictures_of, times_of
from .conftest import Stylize


def test_one_frame(tmp_path: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=1, sound=0)
    assert stylize(source, tmp_path / "out.mp4").frames == 1
    assert times_of(tmp_path / "out.mp4") == [0]


def test_no_frame(tmp_path: Path, stylize: Stylize) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        container.start_encoding()
    with pytest.raises(MediaError, match=r"in\.mkv: a video without a frame"):
        stylize(source, tmp_path / "out.mp4")


def test_files_that_are_no_video(tmp_path: Path, stylize: Stylize) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    for name, message in (("text.mp4", "not a readable video"), ("gone.mp4", "no such video")):
        with pytest.raises(MediaError, match=message):
            stylize(tmp_path / name, tmp_path / "out.mp4")
    with pytest.raises(MediaError, match="each side needs 16 pixels"):
        stylize(make_clip(tmp_path / "small.mp4", frames=2, size=(8, 32)), tmp_path / "out.mp4")
    assert not journal_folder(tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_a_truncated_clip(tmp_path: Path, stylize: Stylize, suffix: str) -> None:
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    whole = make_clip(tmp_path / f"whole{suffix}", frames=150, sound=1, container_options=options)
    content = whole.read_bytes()
    (tmp_path / f"in{suffix}").write_bytes(content[: len(content) * 6 // 10])
    result = stylize(tmp_path / f"in{suffix}", tmp_path / "out.mp4")
    assert 70 <= result.frames <= 110
    assert (result.damage is None) == (suffix == ".ts")  # a transport stream does not say how long it is
    times = times_of(tmp_path / "out.mp4")
    assert len(times) == result.frames
    np.testing.assert_allclose(np.diff(np.array(times[:-1], float)), 0.04, atol=0.001)
    assert packets_of(tmp_path / "out.mp4", "audio")[0][-1][0] <= times[-1] + 1
    assert not journal_folder(tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "ffv1"])
def test_damage_in_the_middle(tmp_path: Path, stylize: Stylize, codec: str) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=150, codec=codec)
    with av.open(str(source)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(source.read_bytes())
    begin, size = places[100]
    assert begin is not None
    content[begin + 20 : begin + size] = np.random.default_rng(0).bytes(size - 20)
    source.write_bytes(content)
    result = stylize(source, tmp_path / "out.mkv")
    assert result.damage is not None
    assert 90 <= result.frames <= 101
    assert len(times_of(tmp_path / "out.mkv")) == result.frames


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_segments(tmp_path: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=150)
    stylize(source, tmp_path / "whole.mp4")
    folder = journal_folder(tmp_path / "out.mp4")
    size = (tmp_path / "whole.mp4").stat().st_size
    with (
        files_of_at_most(size * 3 // 4),
        pytest.raises(
            MediaError, match=r"out\.mp4: cannot be written \(File too large\); what is finished is kept \(3 segments\)"
        ),
    ):
        stylize(source, tmp_path / "out.mp4")  # the segments are small enough, the whole is not
    assert len(list(folder.glob("[0-9]*.mp4"))) == 3
    assert not (tmp_path / "out.mp4").exists()
    with files_of_at_most(1_000), pytest.raises(MediaError, match=r"cannot be written"):
        stylize(source, tmp_path / "second.mp4")
    result = stylize(source, tmp_path / "out.mp4")
    assert (result.frames, result.resumed) == (150, 150)
    for one, other in zip(pictures_of(tmp_path / "out.mp4"), pictures_of(tmp_path / "whole.mp4"), strict=True):
        np.testing.assert_array_equal(one, other)
