"""Decoding: the frames of successive segments as displayed, uint8 RGB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import av
from av.video.stream import VideoStream

from nstopt.errors import MediaError
from nstopt.pictures.files import Picture
from nstopt.video.clip import Clip, open_clip, reading, reason
from nstopt.video.color import ToRgb
from nstopt.video.segments import Segment

# So many keyframes back are tried where an index leads to a wrong place, before the clip's beginning.
KEYS_TRIED = 2


class DamageError(Exception):
    """The clip cannot be decoded any further. The message is the reason."""


class Frame(NamedTuple):
    """A frame as displayed, uint8 RGB [H, W, 3], and the time at which it is shown."""

    time: int
    picture: Picture


class FrameReader:
    """Reads the frames of segments. A segment that follows the last one is read on without seeking."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._to_rgb = ToRgb(clip.color)
        self._decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._next: tuple[int, av.VideoFrame] | None = None

    def read(self, segment: Segment) -> Iterator[Frame]:
        """Yield the frames of a segment. Raises DamageError where the clip cannot be decoded any further."""
        if self._next is None or self._next[0] != segment.start:
            self._seek(segment.start)
        count = 0
        while self._next is not None and (segment.stop is None or self._next[0] < segment.stop):
            time, frame = self._next
            if frame.is_corrupt:
                raise DamageError("a frame is damaged")
            yield Frame(time, self._picture(frame))
            count += 1
            self._next = next(self._decoded, None)
        if count == 0:
            raise DamageError(f"no frame can be decoded after {self._clip.seconds(segment.start):.3f} s")

    def _seek(self, start: int) -> None:
        """Make the first frame from `start` on the next one. It is decoded from the keyframe before it; if that does
        not lead there, from an earlier one. Frames before `start` may lack what they refer to."""
        keys = [key for key in self._clip.keys if key <= start][: -KEYS_TRIED - 1 : -1]
        for key in [*keys, None]:
            self._decoded = _decode(self._clip, key)
            self._next = next((one for one in self._decoded if one[0] >= start), None)
            if self._next is not None and self._next[0] == start and not self._next[1].is_corrupt:
                return

    def _picture(self, frame: av.VideoFrame) -> Picture:
        height, width = self._clip.orientation.displayed(*self._clip.size)  # of stored frames: it is its own inverse
        return self._clip.orientation.upright(self._to_rgb(frame, width, height))


def _decode(clip: Clip, key: int | None) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield times and frames from the keyframe at time `key`, or from the beginning. Raises DamageError."""
    try:
        with reading(clip.path), open_clip(clip.path) as container:
            stream = container.streams[clip.stream]
            assert isinstance(stream, VideoStream)
            stream.thread_type = "AUTO"
            if key is not None:
                container.seek(key, stream=stream)
            last: int | None = None
            for count, frame in enumerate(container.decode(stream)):
                time = clip.times[min(count, len(clip.times) - 1)] if clip.is_counted else frame.pts
                if time is None or (last is not None and time <= last):
                    continue  # a frame that is never shown
                last = time
                yield time, frame
    except MediaError as error:
        raise DamageError(reason(error.__cause__) if isinstance(error.__cause__, Exception) else str(error)) from error
