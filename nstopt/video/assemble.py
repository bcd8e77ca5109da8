"""Assembly: segments are joined without encoding them again, and the source's other tracks are put beside them."""

from __future__ import annotations

import heapq
import operator
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av

from nstopt.errors import MediaError
from nstopt.files import atomic_path
from nstopt.video.clip import Clip, open_clip, reason
from nstopt.video.pipeline import SegmentResult
from nstopt.video.plan import VideoPlan
from nstopt.video.segments import Segment
from nstopt.video.tracks import Span, copy_chapters, copy_packets, copy_tracks, file_metadata, track_metadata

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

QUICKTIME = frozenset({"mp4", "mov", "ipod"})
# Formats whose clock begins anywhere, so that a result begins at the first thing that they hold.
FREE_CLOCKS = frozenset({"mpegts", "mpeg"})


class Piece(NamedTuple):
    """A segment, its file, and what is known of it."""

    segment: Segment
    path: Path
    result: SegmentResult


def assemble(plan: VideoPlan, pieces: Sequence[Piece]) -> list[str]:
    """Write the plan's target from successive segments, atomically: all of them, or those before an interruption or
    damage. Returns a line for each track of the source that the container cannot hold.

    Raises MediaError if the file cannot be written, or if the source cannot be read any more.
    """
    pieces = [piece for piece in pieces if piece.result.frames]
    target = plan.job.target
    if not pieces:
        raise MediaError(f"{target}: not a single frame is finished")
    try:
        with atomic_path(target) as temporary, ExitStack() as opened:
            source = opened.enter_context(open_clip(plan.clip.path))
            output = opened.enter_context(av.open(str(temporary), "w"))
            first = opened.enter_context(av.open(str(pieces[0].path)))
            span = _span(plan, pieces, source.start_time)
            video = output.add_stream_from_template(first.streams.video[0], opaque=True)
            if plan.encoding.codec.startswith("hevc") and output.format.name in QUICKTIME:
                video.codec_context.codec_tag = "hvc1"  # the form that Apple's players take
            pictured = source.streams[plan.clip.stream]
            video.metadata.update(track_metadata(pictured.metadata))
            video.disposition = pictured.disposition
            tracks, left_out = copy_tracks(source, output, plan.clip.stream)
            output.metadata.update(file_metadata(source.metadata))
            output.set_chapters(copy_chapters(source, span))
            pictures = _pictures(plan, pieces, video, span.origin)
            others = copy_packets(source, tracks, span)
            for _, packet in heapq.merge(pictures, others, key=operator.itemgetter(0)):
                output.mux(packet)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{target}: cannot be written ({reason(error)})") from error
    return left_out


def _span(plan: VideoPlan, pieces: Sequence[Piece], start_time: int | None) -> Span:
    """Return the part of the source that `pieces` show."""
    clip, job = plan.clip, plan.job
    begin = pieces[0].segment.start * clip.time_base
    last = pieces[-1]
    is_whole = last.segment.number == plan.segments[-1].number and last.result.frames == last.segment.frames
    stop = last.segment.stop if is_whole else end_of(clip, last)
    first = begin if job.start_s else None
    origin = Fraction(0)
    if first is not None:
        origin = begin
    elif start_time and clip.format in FREE_CLOCKS:
        origin = round(Fraction(start_time, av.time_base) / clip.time_base) * clip.time_base
    return Span(origin, first, None if stop is None else stop * clip.time_base)


def end_of(clip: Clip, piece: Piece) -> int:
    """Return the time at which the last frame of a piece ends."""
    index = bisect_left(clip.times, piece.segment.start) + piece.result.frames
    return clip.times[index] if index < len(clip.times) else clip.times[-1] + clip.last_duration


def _pictures(
    plan: VideoPlan, pieces: Sequence[Piece], track: VideoStream, origin: Fraction
) -> Iterator[tuple[float, Packet[Any]]]:
    """Yield the encoded frames of all pieces in the order stored, and the time in seconds at which each is decoded.

    A frame is decoded at the time at which the frame `reorder` places before it, in the order shown, is shown. That
    ascends over segments of any frame rate, and no frame is shown before it is decoded.
    """
    base, first = plan.clip.time_base, pieces[0].segment.start
    shift = round(origin / base)
    reorder = max(piece.result.reorder for piece in pieces)
    ticks = max(1, round(1 / (plan.clip.rate * base)))
    recent = deque(first - ticks * back for back in range(reorder, 0, -1))
    for piece in pieces:
        with av.open(str(piece.path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            times = [piece.segment.start + round((packet.pts or 0) * packet.time_base / base) for packet in packets]
            shown = sorted(times)
            ends = [*shown[1:], end_of(plan.clip, piece)]
            durations = {time: end - time for time, end in zip(shown, ends, strict=True)}
            for packet, time, following in zip(packets, times, shown, strict=True):
                recent.append(following)
                packet.stream, packet.time_base = track, base
                packet.pts, packet.dts = time - shift, recent.popleft() - shift
                packet.duration = durations[time]
                yield float(packet.dts * base), packet
