"""The parts by themselves: names, segments, pixel formats, channels, orientation."""

from __future__ import annotations

import shutil
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import noise
from PIL import Image

from nstopt.errors import MediaError
from nstopt.pictures.size import Size
from nstopt.video.channel import Channel, ClosedError
from nstopt.video.clip import PixelLayout, probe
from nstopt.video.codecs import CODECS, choose_pixel_format
from nstopt.video.decode import FrameReader
from nstopt.video.names import is_video
from nstopt.video.orientation import Orientation
from nstopt.video.segments import split

from .clips import make_clip

BOTH = (False, True)


def test_a_video_is_recognized(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    shutil.copyfile(clip, tmp_path / "clip")
    Image.fromarray(noise(20, 30)).save(tmp_path / "picture.png")
    shutil.copyfile(tmp_path / "picture.png", tmp_path / "picture")
    (tmp_path / "text").write_text("text")
    videos = [name for name in ("clip.mp4", "clip", "gone.MKV") if is_video(tmp_path / name)]
    others = [name for name in ("picture.png", "picture", "text", "gone", ".") if is_video(tmp_path / name)]
    assert (videos, others) == (["clip.mp4", "clip", "gone.MKV"], [])


def test_segments_cover_the_clip(tmp_path: Path) -> None:
    clip = probe(make_clip(tmp_path / "in.mp4", frames=130, keys_every=50))
    segments = split(clip)
    assert [segment.frames for segment in segments] == [60, 60, 10]
    assert [segment.start for segment in segments] == [0, 60 * 512, 120 * 512]
    assert [segment.stop for segment in segments] == [60 * 512, 120 * 512, None]
    (part,) = split(clip, 1.0, 2.0)
    assert (part.start, part.stop, part.frames) == (25 * 512, 50 * 512, 25)


@pytest.mark.parametrize("codec", ["libx264", "libx264 open", "mpeg4", "mpeg2video", "libx265 open", "libvpx-vp9"])
def test_a_segment_reads_the_same_alone(tmp_path: Path, codec: str) -> None:
    options = {
        "libx264 open": {"x264-params": "open-gop=1:scenecut=0"},
        "libx265 open": {"x265-params": "log-level=none:open-gop=1"},
        "mpeg2video": {"bf": "2"},
    }.get(codec, {})
    base = {"time_base": Fraction(1, 25)} if codec == "mpeg2video" else {}
    clip = probe(
        make_clip(tmp_path / "in.mkv", 190, codec=codec.split()[0], keys_every=37, options=options, setup=base)
    )
    assert len(clip.keys) > 4
    in_order, alone = FrameReader(clip), FrameReader(clip)
    read = [list(in_order.read(segment)) for segment in split(clip)]
    assert [len(frames) for frames in read] == [60, 60, 60, 10]
    for segment, frames in reversed(list(zip(split(clip), read, strict=True))):
        for one, other in zip(alone.read(segment), frames, strict=True):
            assert one.time == other.time
            np.testing.assert_array_equal(one.picture, other.picture)


@pytest.mark.parametrize(
    ("codec", "layout", "size", "expected"),
    [
        ("h264", PixelLayout(8, 2, 2), (48, 64), "yuv420p"),
        ("h264", PixelLayout(8, 2, 2), (47, 64), "yuv422p"),
        ("h264", PixelLayout(8, 2, 1), (47, 64), "yuv422p"),
        ("h264", PixelLayout(12, 2, 2), (48, 64), "yuv420p10le"),
        ("hevc", PixelLayout(12, 1, 1), (48, 64), "yuv444p12le"),
        ("av1", PixelLayout(10, 2, 2), (48, 64), "yuv420p10le"),
        ("prores", PixelLayout(8, 2, 2), (48, 64), "yuv422p10le"),
        ("vp9", PixelLayout(8, 2, 2), (47, 63), "yuv420p"),
    ],
)
def test_the_nearest_pixel_format(codec: str, layout: PixelLayout, size: tuple[int, int], expected: str) -> None:
    assert choose_pixel_format(CODECS[codec], layout, Size(*size)) == expected


def test_a_codec_without_a_fitting_pixel_format() -> None:
    with pytest.raises(MediaError, match="libsvtav1 cannot store frames of 47x63 without loss of color: use --codec"):
        choose_pixel_format(CODECS["av1"], PixelLayout(8, 2, 2), Size(47, 63))


@pytest.mark.parametrize("orientation", [Orientation(a, b, c) for a in BOTH for b in BOTH for c in BOTH])
def test_orientation(orientation: Orientation) -> None:
    picture = noise(20, 30)
    upright = orientation.upright(picture)
    assert upright.shape[:2] == orientation.displayed(20, 30)
    assert upright.flags.c_contiguous
    expected = picture.transpose(1, 0, 2) if orientation.transposed else picture
    expected = expected[::-1] if orientation.rows_reversed else expected
    np.testing.assert_array_equal(upright, expected[:, ::-1] if orientation.columns_reversed else expected)


def test_a_channel_holds_back_a_fast_producer() -> None:
    channel: Channel[int] = Channel(2)
    put: list[int] = []

    def produce() -> None:
        for number in range(6):
            channel.put(number)
            put.append(number)
        channel.end(RuntimeError("the last one failed"))

    producer = threading.Thread(target=produce)
    producer.start()
    items = iter(channel)
    for number in range(6):
        assert next(items) == number
        assert len(put) <= number + 3
    with pytest.raises(RuntimeError, match="the last one failed"):
        next(items)
    producer.join()


def test_an_abandoned_channel_stops_the_producer() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(0)
    threading.Timer(0.05, channel.abandon).start()
    with pytest.raises(ClosedError):
        channel.put(1)
