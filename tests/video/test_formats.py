"""Sources of all kinds: sizes, orientation, pixel shape, color, bits, codecs, containers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from nstopt.errors import MediaError
from nstopt.pictures.size import Size
from nstopt.video.clip import probe
from nstopt.video.plan import VideoJob, notes, plan_video

from .clips import make_clip, pictures_of, times_of
from .conftest import Stylize


def track_of(path: Path) -> dict[str, Any]:
    """Facts of a file's picture track."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        return {
            "codec": stream.codec_context.name,
            "pixels": frame.format.name,
            "size": (frame.height, frame.width),
            "aspect": stream.sample_aspect_ratio,
            "color": (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc),
            "rotation": frame.rotation,
        }


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (47, 63)])
@pytest.mark.parametrize("codec", ["h264", "vp9", "ffv1"])
def test_odd_sizes(tmp_path: Path, stylize: Stylize, size: tuple[int, int], codec: str) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=4, size=size, codec="ffv1")
    stylize(source, tmp_path / "out.mkv", codec=codec)
    found = track_of(tmp_path / "out.mkv")
    assert found["size"] == size
    assert found["pixels"] == ("yuv420p" if codec != "h264" else "yuv444p" if size[1] == 63 else "yuv422p")
    plan = plan_video(VideoJob(source, tmp_path / "out.mkv", codec))
    said = [f"h264 cannot store {Size(*size)} in 4:2:0: encoded in {found['pixels']}"] if codec == "h264" else []
    assert notes(plan) == said


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_clip_is_stylized_upright(tmp_path: Path, stylize: Stylize, rotation: int) -> None:
    plain = make_clip(tmp_path / "plain.mp4", frames=3, setup={"sample_aspect_ratio": Fraction(4, 3)})
    source = make_clip(tmp_path / "in.mp4", frames=3, rotation=rotation, setup={"sample_aspect_ratio": Fraction(4, 3)})
    assert track_of(source)["rotation"] % 360 == rotation
    stylize(source, tmp_path / "out.mp4", crf=1)
    found = track_of(tmp_path / "out.mp4")
    assert found["rotation"] == 0
    assert found["aspect"] == (Fraction(4, 3) if rotation == 180 else Fraction(3, 4))
    shown = np.rot90(pictures_of(plain)[2], rotation // 90)  # counterclockwise, as FFmpeg counts
    assert found["size"] == shown.shape[:2]
    assert np.abs(255 - shown.astype(int) - pictures_of(tmp_path / "out.mp4")[2]).mean() < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_shape_of_pixels_is_kept(tmp_path: Path, stylize: Stylize, suffix: str) -> None:
    source = make_clip(tmp_path / f"in{suffix}", frames=2, setup={"sample_aspect_ratio": Fraction(12, 11)})
    stylize(source, tmp_path / f"out{suffix}")
    assert track_of(tmp_path / f"out{suffix}")["aspect"] == Fraction(12, 11)


COLORS = {
    "bt709": ((1, 1, 1, 1), "yuv420p"),
    "bt601": ((6, 1, 6, 6), "yuv420p"),
    "full range": ((1, 2, 1, 13), "yuv420p"),
    "untagged": ((2, 0, 2, 2), "yuv420p"),
    "PQ": ((9, 1, 9, 16), "yuv420p10le"),
    "HLG": ((9, 1, 9, 18), "yuv420p10le"),
}


@pytest.mark.parametrize("name", COLORS)
def test_colors_keep_their_tags_and_values(tmp_path: Path, stylize: Stylize, name: str) -> None:
    tags, pixels = COLORS[name]
    names = ("colorspace", "color_range", "color_primaries", "color_trc")
    setup = dict(zip(names, tags, strict=True))
    source = make_clip(tmp_path / "in.mp4", frames=2, pixel_format=pixels, setup=setup)
    stylize(source, tmp_path / "out.mp4", codec="h264", crf=1)
    found = track_of(tmp_path / "out.mp4")
    assert found["color"] == tags
    assert found["pixels"].replace("yuvj", "yuv") == pixels  # FFmpeg's older name where the range is full
    before, after = (pictures_of(tmp_path / f"{file}.mp4")[1].astype(int) for file in ("in", "out"))
    assert abs((255 - before - after).mean()) < 0.8
    said = notes(plan_video(VideoJob(source, tmp_path / "out.mp4", "h264")))
    hdr = name in ("PQ", "HLG")
    assert [line.split(":")[0] for line in said] == ([f"HDR ({name})"] if hdr else [])


@pytest.mark.parametrize("codec", ["h264", "hevc", "ffv1"])
def test_ten_bits_stay_ten_bits(tmp_path: Path, stylize: Stylize, codec: str) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=3, codec="ffv1", pixel_format="yuv422p10le")
    stylize(source, tmp_path / "out.mkv", codec=codec)
    assert track_of(tmp_path / "out.mkv")["pixels"] == "yuv422p10le"


def test_the_default_codec(tmp_path: Path, stylize: Stylize) -> None:
    eight = make_clip(tmp_path / "eight.mp4", frames=2)
    ten = make_clip(tmp_path / "ten.mp4", frames=2, pixel_format="yuv420p10le")
    for source, target, codec in (
        (eight, "out.mp4", "h264"),
        (eight, "out.webm", "vp9"),
        (ten, "ten.mkv", "hevc"),
        (ten, "ten.mov", "hevc"),
    ):
        stylize(source, tmp_path / target)
        assert track_of(tmp_path / target)["codec"] in (codec, f"lib{codec}")
    with av.open(str(tmp_path / "ten.mov")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize(("codec", "suffix"), [("av1", ".mp4"), ("prores", ".mov"), ("vp9", ".mp4"), ("hevc", ".mp4")])
def test_other_codecs(
    tmp_path: Path, stylize: Stylize, codec: str, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=65)
    stylize(source, tmp_path / f"out{suffix}", codec=codec)
    assert times_of(tmp_path / f"out{suffix}") == times_of(source)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("suffix", [".avi", ".h264", ".ts", ".mkv", ".mov"])
def test_containers_with_and_without_times(tmp_path: Path, stylize: Stylize, codec: str, suffix: str) -> None:
    if (suffix == ".h264" and codec != "libx264") or (suffix == ".ts" and codec == "mjpeg"):
        pytest.skip("no such file")
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = make_clip(tmp_path / f"in{suffix}", frames=70, codec=codec, pixel_format=pixels)
    assert probe(source).is_counted == (suffix in (".avi", ".h264"))
    result = stylize(source, tmp_path / "out.mp4", crf=4)
    times = times_of(tmp_path / "out.mp4")
    assert result.frames == len(times) == 70
    np.testing.assert_allclose(np.diff(np.array(times, float)), 0.04, atol=0.0011)
    for before, after in zip(pictures_of(source), pictures_of(tmp_path / "out.mp4"), strict=True):
        assert np.abs(255 - before.astype(int) - after).mean() < 8


def test_what_cannot_be_encoded(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=2)
    for options, message in (
        ({"target": tmp_path / "out.webm", "codec": "h264"}, "webm cannot hold h264"),
        ({"target": tmp_path / "out.gif"}, "a video is written as .mp4"),
        ({"codec": "theora"}, "unknown codec 'theora'; there are: h264, hevc"),
        ({"codec": "ffv1", "crf": 3}, "ffv1 has no constant quality"),
        ({"codec": "h264-nvenc"}, "h264_nvenc cannot encode 48x64 frames"),
        ({"start_s": 2.0}, "no frame between --start and --end; it is 0.080 s long"),
        ({"target": tmp_path}, "is a folder"),
    ):
        with pytest.raises(MediaError, match=message):
            plan_video(VideoJob(**{"source": source, "target": tmp_path / "out.mp4", **options}))  # type: ignore[arg-type]
