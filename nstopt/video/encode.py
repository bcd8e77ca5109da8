"""Encoding: stylized frames → a file of its own for each segment."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av

from nstopt.errors import MediaError
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size
from nstopt.video.clip import Clip, reason
from nstopt.video.codecs import choose_pixel_format, default_codec, named
from nstopt.video.color import Color, FromRgb

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

# No codec stores more frames than these before one that is shown earlier.
MOST_REORDERED = 16
# Containers that store when each frame is shown.
CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")


@dataclass(frozen=True)
class Encoding:
    """How a result is encoded. `codec` is a name of CODECS, `crf` its constant quality; None for a codec without."""

    codec: str
    crf: int | None
    pixel_format: str
    size: Size
    aspect: Fraction
    rate: Fraction
    time_base: Fraction
    color: Color

    @property
    def suffix(self) -> str:
        """The suffix of a segment's file."""
        return named(self.codec).segment

    def options(self) -> dict[str, str]:
        """The encoder's options."""
        codec = named(self.codec)
        return {**codec.options, **({} if self.crf is None else {codec.quality: str(self.crf)})}

    def apply(self, context: VideoCodecContext | VideoStream) -> None:
        """Set up an encoder that is not open yet."""
        os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 would print its settings
        context.width, context.height = self.size.width, self.size.height
        context.pix_fmt = self.pixel_format
        codec = context if isinstance(context, av.VideoCodecContext) else context.codec_context
        codec.time_base, codec.sample_aspect_ratio = self.time_base, self.aspect
        codec.color_range, codec.colorspace = self.color.range, self.color.matrix
        codec.color_primaries, codec.color_trc = self.color.primaries, self.color.transfer


def choose_encoding(clip: Clip, target: Path, codec: str | None, crf: int | None) -> Encoding:
    """Return how the result of `clip` is encoded in the file `target`, and try the encoder.

    Raises MediaError if the codec is unknown, does not fit the container or the frames, or cannot run here.
    """
    name = codec or default_codec(target, clip.layout.bits)
    chosen = named(name)
    if crf is not None and chosen.crf is None:
        raise MediaError(f"{name} has no constant quality: leave --crf out")
    _check_container(target, name)
    encoding = Encoding(
        codec=name,
        crf=chosen.crf if crf is None else crf,
        pixel_format=choose_pixel_format(chosen, clip.layout, clip.size),
        size=clip.size,
        aspect=clip.aspect,
        rate=clip.rate,
        time_base=clip.time_base,
        color=clip.color.stored(),
    )
    _try(encoding)
    return encoding


def _check_container(target: Path, codec: str) -> None:
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        raise MediaError(f"{target}: a video is written as {', '.join(CONTAINERS)}")
    with av.open(str(target), "w") as container:  # the file itself is made by the first packet
        if named(codec).encoder not in container.supported_codecs:
            raise MediaError(f"{target}: {suffix} cannot hold {codec}; write .mkv, or choose another --codec")


def _try(encoding: Encoding) -> None:
    """Open the encoder once, so that what it refuses is known before any work."""
    codec = named(encoding.codec)
    try:
        context = av.CodecContext.create(codec.encoder, "w")
        assert isinstance(context, av.VideoCodecContext)
        encoding.apply(context)
        context.framerate = encoding.rate
        context.options = encoding.options()
        context.open()
    except (av.FFmpegError, ValueError) as error:
        what = f"{encoding.size} frames ({encoding.pixel_format}) at --crf {encoding.crf}"
        raise MediaError(f"{codec.encoder} cannot encode {what} here: choose another --codec or --crf") from error


class Encoded(NamedTuple):
    """A finished file: its number of frames, and how many frames at most are stored before one shown earlier."""

    frames: int
    reorder: int


class SegmentWriter:
    """Encodes the frames of one segment to a file, whose times count from the segment's `start`."""

    def __init__(self, path: Path, encoding: Encoding, start: int) -> None:
        self._path, self._start = path, start
        self._time_base = encoding.time_base
        self._from_rgb = FromRgb(encoding.color, encoding.pixel_format)
        self._stored: list[int] = []
        self._decode_times = deque(range(-MOST_REORDERED, 0))
        with _writing(path):
            self._container = av.open(str(path), "w")
            codec = named(encoding.codec)
            stream = self._container.add_stream(codec.encoder, rate=encoding.rate, options=encoding.options())
            assert isinstance(stream, av.VideoStream)
            self._stream = stream
            encoding.apply(stream)
            stream.time_base = encoding.time_base

    def write(self, time: int, picture: Picture) -> None:
        """Encode a frame, uint8 RGB [H, W, 3]. Raises MediaError."""
        frame = self._from_rgb(picture)
        frame.pts, frame.time_base = time - self._start, self._time_base
        self._decode_times.append(frame.pts)
        with _writing(self._path):
            self._mux(self._stream.encode(frame))

    def finish(self) -> Encoded:
        """Write what the encoder still holds, and close the file. Raises MediaError."""
        with _writing(self._path):
            self._mux(self._stream.encode())
            self._container.close()
        shown = {time: place for place, time in enumerate(sorted(self._stored))}
        return Encoded(len(shown), max(place - shown[time] for place, time in enumerate(self._stored)))

    def abort(self) -> None:
        """Close the file; what it holds is of no use."""
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None
            self._stored.append(packet.pts)
            packet.dts = self._decode_times.popleft()  # x265 gives nonsense for segments of a few frames
            self._container.mux(packet)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: cannot be written ({reason(error)})") from error
