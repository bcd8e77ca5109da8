"""Facts about a clip, and the times of its frames. Times are whole numbers of `time_base` seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import av

from nstopt.errors import MediaError
from nstopt.files import check_regular
from nstopt.pictures.size import MIN_SIDE, Size
from nstopt.video.color import RGB, Color
from nstopt.video.covers import is_cover
from nstopt.video.orientation import Orientation, orientation_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# The order of an AVI's packets says nothing about when a frame is shown.
UNTIMED_FORMATS = frozenset({"avi"})
DEFAULT_RATE = Fraction(25)
# A file that ends this much before its header says has been cut off.
CUT_OFF_S = 1.0


class PixelLayout(NamedTuple):
    """How pixels are stored: `bits` a sample, and how many pixels of a row and of a column share one of color."""

    bits: int
    columns_shared: int
    rows_shared: int


@dataclass(frozen=True)
class Clip:
    """A video file's first picture track.

    `size` is that of displayed frames, turned by `orientation`; `aspect` is the shape of a displayed pixel, width over
    height. `times` holds when each frame is shown, ascending, and `last_duration` how long the last one is; `keys` are
    the times of frames that decoding can start at. If `is_counted`, the file has no times: the n-th frame decoded is
    shown at times[n]. `damage` says why the file ends early, if it does."""

    path: Path
    stream: int
    format: str
    size: Size
    orientation: Orientation
    aspect: Fraction
    time_base: Fraction
    rate: Fraction
    color: Color
    layout: PixelLayout
    times: tuple[int, ...]
    keys: tuple[int, ...]
    last_duration: int
    is_counted: bool = False
    damage: str | None = None

    def seconds(self, time: int) -> float:
        """Seconds from the clip's first frame to `time`."""
        return float((time - self.times[0]) * self.time_base)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and the system that a block meets when it reads the video `path` into MediaError."""
    try:
        yield
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such video") from error
    except EOFError as error:  # of a container without a packet
        raise MediaError(f"{path}: a video without a frame") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{path}: not a readable video ({reason(error)})") from error


def open_clip(path: Path) -> InputContainer:
    """Open a video for reading. Raises MediaError if the file is missing or no video."""
    with reading(path):
        check_regular(path)
        return av.open(str(path), "r", metadata_errors="replace")


def reason(error: Exception) -> str:
    """Return what FFmpeg or the system says about an error, without numbers and file names."""
    return str(getattr(error, "strerror", None) or error)


def _moving_pictures(path: Path, container: InputContainer) -> VideoStream:
    """Return the first track of moving pictures, which is not the cover of an album."""
    for stream in container.streams.video:
        if not is_cover(stream):
            return stream
    raise MediaError(f"{path}: no picture track in this file; give a video such as .mp4")


def probe(path: Path) -> Clip:
    """Read the facts of a clip: its packets are listed, and its first frame is decoded.

    Raises MediaError if the file is missing, is no video, has no frame, or has frames smaller than 16 pixels a side.
    """
    with reading(path), open_clip(path) as container:
        stream = _moving_pictures(path, container)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise MediaError(f"{path}: a video without a frame")
        orientation = orientation_of(frame)
        size = orientation.displayed(frame.height, frame.width)
        if min(size) < MIN_SIDE:
            raise MediaError(f"{path}: its frames are {size}; each side needs {MIN_SIDE} pixels")
        aspect = stream.sample_aspect_ratio or Fraction(1)
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
        time_base = stream.time_base or 1 / rate
        with open_clip(path) as listed:
            return Clip(
                path=path,
                stream=stream.index,
                format=container.format.name,
                size=size,
                orientation=orientation,
                aspect=1 / aspect if orientation.transposed else aspect,
                time_base=time_base,
                rate=rate,
                color=_color(frame),
                layout=_layout(frame),
                **_list_frames(listed, stream.index, max(1, round(1 / (rate * time_base)))),
            )


def _color(frame: av.VideoFrame) -> Color:
    matrix = RGB if frame.format.is_rgb else frame.colorspace
    return Color(int(matrix), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc))


def _layout(frame: av.VideoFrame) -> PixelLayout:
    bits = max(component.bits for component in frame.format.components)
    return PixelLayout(bits, 8 // frame.format.chroma_width(8), 8 // frame.format.chroma_height(8))


class _Frames(TypedDict):
    times: tuple[int, ...]
    keys: tuple[int, ...]
    last_duration: int
    is_counted: bool
    damage: str | None


def _list_frames(container: InputContainer, index: int, frame_ticks: int) -> _Frames:
    """List the times of a track's frames without decoding them. `frame_ticks` is the usual time between two."""
    packets: list[tuple[int | None, int | None, bool]] = []
    damage, end_s, last_duration = None, 0.0, frame_ticks
    try:
        for packet in container.demux():
            if packet.pts is not None and packet.size:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == index and packet.size and not packet.is_discard:
                packets.append((packet.pts, packet.dts, packet.is_keyframe))
                last_duration = packet.duration or frame_ticks
    except (av.FFmpegError, OSError) as error:
        damage = reason(error)
    if damage is None and container.duration and container.duration / av.time_base - end_s > CUT_OFF_S:
        damage = f"the file is cut off: {end_s:.1f} of {container.duration / av.time_base:.1f} s are there"
    if container.format.name in UNTIMED_FORMATS or any(pts is None for pts, _, _ in packets):
        known = sorted(dts for _, dts, _ in packets if dts is not None)
        times = known if len(set(known)) == len(packets) else [index * frame_ticks for index in range(len(packets))]
        return _Frames(times=tuple(times), keys=(), last_duration=last_duration, is_counted=True, damage=damage)
    times = sorted({pts for pts, _, _ in packets if pts is not None})
    keys = sorted({pts for pts, _, is_key in packets if is_key and pts is not None})
    return _Frames(times=tuple(times), keys=tuple(keys), last_duration=last_duration, is_counted=False, damage=damage)
