"""Clips that the tests make by themselves, and what is read back from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from nstopt.pictures.files import Picture
from nstopt.video.color import EXACT

RATE, TICKS = Fraction(25), Fraction(1, 12800)
HEIGHT, WIDTH = 48, 64


def scene(number: int, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """A frame that tells its number: a ramp that moves and grows lighter."""
    rows, columns = np.mgrid[:height, :width]
    ramp = 40 + (rows * 2 + columns + number * 7) % 150
    return np.stack([ramp, ramp + number % 20, np.full_like(ramp, 60 + number * 5 % 130)], axis=2).astype(np.uint8)


def make_clip(
    path: Path,
    frames: int = 30,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Sequence[int] | None = None,
    keys_every: int = 12,
    sound: int = 0,
    subtitles: str | None = None,
    chapters: bool = False,
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    setup: Mapping[str, Any] | None = None,
    rotation: int | None = None,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """Write a clip of `scene`s at `times` in ticks of 1/12800 s, by default 25 a second, with `sound` audio tracks."""
    times = times or [number * 512 for number in range(frames)]
    height, width = size
    with av.open(str(path), "w", container_options=dict(container_options or {})) as container:
        container.metadata.update(metadata or {})
        video: Any = container.add_stream(codec, rate=RATE, options={"g": str(keys_every), **(options or {})})
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.codec_context.time_base = TICKS
        for name, value in (setup or {}).items():
            setattr(video.codec_context, name, value)
        if rotation is not None:
            video.set_display_rotation(rotation)
        tracks: list[Any] = [container.add_stream("aac", rate=8000, layout="mono") for _ in range(sound)]
        text: Any = container.add_mux_stream(subtitles) if subtitles else None
        if text is not None:
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "deu"
        if chapters:
            container.set_chapters(
                [
                    {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}},
                    {"id": 2, "start": 400, "end": 1200, "time_base": Fraction(1, 1000), "metadata": {"title": "two"}},
                ]
            )
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(scene(number, height, width), "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = time, TICKS
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for track_number, track in enumerate(tracks):
            _write_sound(container, track, 220.0 * (track_number + 1), times[-1] * TICKS)
        if text is not None:
            container.mux(_caption(text, b"\0\x05Hello" if subtitles == "mov_text" else b"Hello"))
    return path


def _write_sound(container: Any, track: Any, hertz: float, seconds: Fraction) -> None:
    count = 1024
    for block in range(int(seconds * 8000) // count):
        wave = np.sin((np.arange(count) + block * count) * hertz * 2 * np.pi / 8000).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, block * count, Fraction(1, 8000)
        container.mux(track.encode(frame))
    container.mux(track.encode())


def _caption(track: Any, content: bytes) -> Any:
    packet: Any = av.Packet(content)
    packet.stream, packet.time_base = track, Fraction(1, 1000)
    packet.pts = packet.dts = 200
    packet.duration = 300
    return packet


def times_of(path: Path) -> list[Fraction]:
    """When each frame of a video is shown, in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]  # type: ignore[operator, misc]


def pictures_of(path: Path) -> list[Picture]:
    """The decoded frames of a video, uint8 RGB."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24", interpolation=EXACT) for frame in container.decode(video=0)]  # type: ignore[misc]


def packets_of(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Times in seconds and bytes of the packets of each track of a kind."""
    with av.open(str(path)) as container:
        tracks = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {track.index: [] for track in tracks}
        if tracks:
            for packet in container.demux(tracks):
                if packet.size and packet.pts is not None:
                    found[packet.stream_index].append((packet.pts * packet.time_base, bytes(packet)))
    return list(found.values())
