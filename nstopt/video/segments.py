"""Segments: the unit of work, of what a kill loses, and of what another machine can do."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from nstopt.errors import MediaError
from nstopt.video.clip import Clip

# Every segment begins with a frame that is coded by itself, so short ones make larger files; long ones lose more work.
SEGMENT_FRAMES = 60


class Segment(NamedTuple):
    """Consecutive frames of a clip: those with start <= time < stop, or all from `start` on if `stop` is None."""

    number: int
    start: int
    stop: int | None
    frames: int


def split(clip: Clip, start_s: float | None = None, end_s: float | None = None) -> tuple[Segment, ...]:
    """Split a clip, or the part of it from `start_s` to `end_s` seconds after its first frame, into segments.

    Raises MediaError if that part has no frame.
    """
    seconds = [clip.seconds(time) for time in clip.times] if start_s or end_s is not None else []
    first = bisect_left(seconds, start_s) if start_s else 0
    last = bisect_left(seconds, end_s) if end_s is not None else len(clip.times)
    if first >= last:
        length = clip.seconds(clip.times[-1] + clip.last_duration)
        raise MediaError(f"{clip.path}: no frame between --start and --end; it is {length:.3f} s long")
    return tuple(
        Segment(number, clip.times[begin], _time_at(clip.times, end), end - begin)
        for number, begin in enumerate(range(first, last, SEGMENT_FRAMES))
        for end in (min(begin + SEGMENT_FRAMES, last),)
    )


def _time_at(times: Sequence[int], index: int) -> int | None:
    return times[index] if index < len(times) else None
