"""What a result takes over from its source untouched: audio, subtitles, covers, attachments, chapters, metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av

from nstopt.video.covers import attach_cover, is_cover

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.container.core import Chapter
    from av.packet import Packet
    from av.stream import Stream

COPIED = frozenset({"audio", "subtitle", "video", "attachment"})
# Tags that describe the source's file rather than the film.
OF_THE_FILE = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "rotate"})
OF_THE_TRACK = ("BPS", "DURATION", "NUMBER_OF_", "_STATISTICS_")


class Span(NamedTuple):
    """The part of the source that the result shows, in seconds of the source: from `first`, if only a part was asked
    for, and up to `stop`, if it ends before the source. `origin` is the source's time at which the result begins."""

    origin: Fraction
    first: Fraction | None = None
    stop: Fraction | None = None

    def holds(self, time: Fraction) -> bool:
        """Return True if what begins at `time` belongs to the result."""
        return (self.first is None or time >= self.first) and (self.stop is None or time < self.stop)


def copy_tracks(source: InputContainer, output: OutputContainer, video: int) -> tuple[dict[int, Stream], list[str]]:
    """Add the source's tracks, except the one of index `video`, to `output`.

    Returns the new tracks by the source's index, and a line for each track that the container cannot hold.
    """
    added: dict[int, Stream] = {}
    left_out: list[str] = []
    for stream in source.streams:
        if stream.index == video:
            continue
        try:
            if stream.type not in COPIED or (is_cover(stream) and output.format.name == "mov"):
                raise ValueError
            if is_cover(stream) and output.format.name == "matroska":
                attach_cover(Path(source.name), stream, output)
                continue
            copy: Any = output.add_stream_from_template(stream, opaque=True)
        except (ValueError, av.FFmpegError):
            if not _lists_chapters(source, stream):
                suffix = Path(output.name).suffix
                better = "; .mkv can" if stream.type == "subtitle" and suffix != ".mkv" else ""
                name = f"{stream.type} track {stream.index} ({_codec(stream)})"
                left_out.append(f"left out: {name}, which {suffix} cannot hold{better}")
            continue
        copy.metadata.update(track_metadata(stream.metadata))
        copy.disposition = stream.disposition
        added[stream.index] = copy
    return added, left_out


def _lists_chapters(source: InputContainer, stream: Stream) -> bool:
    """Return True for the text track in which MP4 files keep the titles of their chapters."""
    return stream.type == "data" and "mp4" in source.format.name and bool(source.chapters())


def _codec(stream: Stream) -> str:
    return stream.codec_context.name if stream.codec_context is not None else "unknown"


def file_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a file that hold for its result too."""
    return {name: value for name, value in metadata.items() if name not in OF_THE_FILE}


def track_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a track that hold for its copy too."""
    return {name: value for name, value in file_metadata(metadata).items() if not name.startswith(OF_THE_TRACK)}


def copy_chapters(source: InputContainer, span: Span) -> list[Chapter]:
    """Return the source's chapters within `span`, on the result's clock."""
    copied: list[Chapter] = []
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1, av.time_base)
        start, end = chapter["start"] * base, chapter["end"] * base
        if span.first is not None:
            start = max(start, span.first)
        if span.stop is not None:
            end = min(end, span.stop)
        if start < end:
            places = {name: round((time - span.origin) / base) for name, time in (("start", start), ("end", end))}
            copied.append({**chapter, **places, "time_base": base})  # type: ignore[typeddict-item]
    return copied


def copy_packets(
    source: InputContainer, tracks: Mapping[int, Stream], span: Span
) -> Iterator[tuple[float, Packet[Any]]]:
    """Yield the packets of the copied tracks that begin within `span`, and their time in the result in seconds."""
    streams = [source.streams[index] for index in tracks if source.streams[index].type != "attachment"]
    if not streams:
        return
    try:
        for packet in source.demux(streams):
            time = packet.pts if packet.pts is not None else packet.dts
            base = packet.time_base
            if packet.size and is_cover(packet.stream):
                packet.stream = tracks[packet.stream_index]
                packet.pts = packet.dts = 0
                yield 0.0, packet
            elif packet.size and time is not None and span.holds(time * base):
                shift = round(span.origin / base)
                packet.stream = tracks[packet.stream_index]
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
                yield float((time - shift) * base), packet
    except (av.FFmpegError, OSError):
        return  # the source is damaged here, which the plan says
