"""What a result takes over from its source: sound, subtitles, chapters, covers, attachments, metadata; parts of it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition
from conftest import noise
from PIL import Image

from nstopt.video.covers import is_cover

from .clips import make_clip, packets_of, times_of
from .conftest import Stylize


def chapters_of(path: Path) -> list[tuple[str, Fraction, Fraction]]:
    with av.open(str(path)) as container:
        return [
            (one["metadata"]["title"], one["start"] * one["time_base"], one["end"] * one["time_base"])  # type: ignore[operator, misc]
            for one in container.chapters()
        ]


@pytest.mark.parametrize(("suffix", "subtitles"), [(".mp4", "mov_text"), (".mkv", "subrip"), (".mov", "mov_text")])
def test_everything_else_is_copied(tmp_path: Path, stylize: Stylize, suffix: str, subtitles: str) -> None:
    source = make_clip(
        tmp_path / f"in{suffix}",
        frames=40,
        sound=2,
        subtitles=subtitles,
        chapters=True,
        metadata={"title": "A film", "artist": "Somebody"},
    )
    target = tmp_path / f"out{suffix}"
    assert stylize(source, target).left_out == ()
    assert packets_of(target, "audio") == packets_of(source, "audio")
    ((caption,),) = (  # MP4 fills the time between captions with empty ones
        [packet for packet in track if packet[1] != b"\0\0"] for track in packets_of(target, "subtitle")
    )
    assert caption in packets_of(source, "subtitle")[0]
    assert chapters_of(target) == chapters_of(source)
    with av.open(str(target)) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
        assert (tags["title"], tags["artist"]) == ("A film", "Somebody")
        language = container.streams.subtitles[0].language
    with av.open(str(source)) as container:
        assert container.streams.subtitles[0].language == language  # MOV cannot store all


def test_a_track_that_the_container_cannot_hold(tmp_path: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=10, sound=1, subtitles="subrip")
    result = stylize(source, tmp_path / "out.mp4")
    assert result.left_out == ("left out: subtitle track 2 (srt), which .mp4 cannot hold; .mkv can",)
    assert len(packets_of(tmp_path / "out.mp4", "audio")) == 1


def test_an_attachment(tmp_path: Path, stylize: Stylize) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container, av.open(str(make_clip(tmp_path / "plain.mp4", frames=5))) as plain:
        video = container.add_stream_from_template(plain.streams.video[0], opaque=True)
        container.add_attachment("font.ttf", "font/ttf", b"letters")
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = video
                container.mux(packet)
    assert stylize(source, tmp_path / "out.mkv").left_out == ()
    with av.open(str(tmp_path / "out.mkv")) as container:
        (attached,) = (stream for stream in container.streams if stream.type == "attachment")
        assert isinstance(attached, av.stream.AttachmentStream)
        assert (attached.metadata["filename"], attached.mimetype, attached.data) == ("font.ttf", "font/ttf", b"letters")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_cover(tmp_path: Path, stylize: Stylize, suffix: str) -> None:
    source = tmp_path / "in.mp4"
    Image.fromarray(noise(20, 30)).save(tmp_path / "cover.jpg")
    with (
        av.open(str(source), "w") as container,
        av.open(str(make_clip(tmp_path / "plain.mp4", frames=5))) as plain,
        av.open(str(tmp_path / "cover.jpg")) as picture,
    ):
        video = container.add_stream_from_template(plain.streams.video[0], opaque=True)
        cover: Any = container.add_stream_from_template(picture.streams.video[0], opaque=True)
        cover.disposition = Disposition.attached_pic
        for file, track in ((plain, video), (picture, cover)):
            for packet in file.demux(video=0):
                if packet.size:
                    packet.stream = track
                    container.mux(packet)
    result = stylize(source, tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        covers = [stream for stream in container.streams.video if is_cover(stream)]
        found = [bytes(packet) for packet in container.demux(covers) if packet.size] if covers else []
    if suffix == ".mov":
        assert (found, result.left_out) == ([], ("left out: video track 1 (mjpeg), which .mov cannot hold",))
    else:
        assert (found, result.left_out) == ([(tmp_path / "cover.jpg").read_bytes()], ())


def test_a_part(tmp_path: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=50, sound=1, chapters=True, keys_every=20)
    result = stylize(source, tmp_path / "out.mp4", start_s=0.5, end_s=1.2)
    assert result.frames == 17
    begin = Fraction(13, 25)
    assert times_of(tmp_path / "out.mp4") == [time - begin for time in times_of(source)[13:30]]
    sound = [packet for packet in packets_of(source, "audio")[0] if begin <= packet[0] < Fraction(6, 5)]
    assert [data for _, data in packets_of(tmp_path / "out.mp4", "audio")[0]] == [data for _, data in sound]
    found = packets_of(tmp_path / "out.mp4", "audio")[0]
    assert [time for time, _ in found] == pytest.approx([float(time - begin) for time, _ in sound], abs=1 / 8000)
    assert chapters_of(tmp_path / "out.mp4") == [("two", Fraction(0), Fraction(68, 100))]


def test_a_clip_that_does_not_begin_at_zero(tmp_path: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mkv", times=[12800 + 512 * number for number in range(10)], sound=1)
    stylize(source, tmp_path / "out.mkv")
    assert times_of(tmp_path / "out.mkv") == times_of(source)
    assert times_of(source)[0] == 1
    assert packets_of(tmp_path / "out.mkv", "audio") == packets_of(source, "audio")
