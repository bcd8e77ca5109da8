"""The three stages as threads: decode → net → encode. The net's stage is the caller's thread."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from nstopt.errors import MediaError
from nstopt.video.channel import Channel, ClosedError
from nstopt.video.clip import Clip
from nstopt.video.decode import DamageError, Frame, FrameReader
from nstopt.video.encode import Encoding, SegmentWriter
from nstopt.video.plan import VideoPlan
from nstopt.video.segments import Segment
from nstopt.video.stylizer import FrameStylizer, PendingFrame

# Frames between two stages: so many, and not more than fit into this memory.
MOST_WAITING, MOST_WAITING_BYTES = 16, 256 << 20


class SegmentResult(msgspec.Struct, frozen=True):
    """What is known of a finished segment: its number of frames; how many frames at most are stored before one that is
    shown earlier; why it ends early, if it does; and the stylizer's state after it."""

    number: int
    frames: int
    reorder: int
    damage: str | None = None
    state: bytes = b""


class SegmentStore(Protocol):
    """Where segments go."""

    def draft(self, number: int) -> Path:
        """The file to write a segment to."""
        ...

    def commit(self, result: SegmentResult) -> None:
        """Keep a segment whose draft is complete. A result without frames has no draft."""
        ...

    def state_before(self, number: int) -> bytes:
        """The stylizer's state after the segment before this one."""
        ...


class SegmentEnd(NamedTuple):
    """Follows the frames of a segment: the stylizer's state after them, and why they end early, if they do."""

    number: int
    damage: str | None
    state: bytes = b""


class _Pending(NamedTuple):
    time: int
    request: PendingFrame


Item = Segment | Frame | SegmentEnd


class Pipeline:
    """Stylizes segments in the order given."""

    def __init__(
        self,
        clip: Clip,
        encoding: Encoding,
        segments: Sequence[Segment],
        stylizer: FrameStylizer,
        store: SegmentStore,
    ) -> None:
        self._clip, self._encoding, self._segments = clip, encoding, segments
        self._stylizer, self._store = stylizer, store
        depth = max(2, min(MOST_WAITING, MOST_WAITING_BYTES // (3 * clip.size.height * clip.size.width)))
        self._decoded: Channel[Item] = Channel(depth)
        self._stylized: Channel[Item] = Channel(depth)
        self._encode_error: BaseException | None = None
        self.cut_short: SegmentResult | None = None
        """The segment that an interruption cut short, whose draft holds the frames before it."""

    def run(self) -> Generator[None]:
        """Stylize, yielding once for each frame that the net has finished. If the iteration is ended early, by an
        exception or by closing it, the frames so far of the segment under way are in its draft (`cut_short`).

        Raises MediaError, BundleError, DeviceError."""
        decoder = threading.Thread(target=self._decode, daemon=True)
        encoder = threading.Thread(target=self._encode, daemon=True)
        decoder.start()
        encoder.start()
        try:
            for item in self._stylize():
                self._stylized.put(item)
                if isinstance(item, Frame):
                    yield
        except ClosedError:
            pass  # the encoder has failed; its error is raised below
        finally:
            self._decoded.abandon()
            self._stylized.end()
            encoder.join()
            decoder.join()
        if self._encode_error is not None:
            raise self._encode_error

    def _decode(self) -> None:
        """Read all segments, up to the first damage."""
        try:
            reader = FrameReader(self._clip)
            for segment in self._segments:
                self._decoded.put(segment)
                damage = None
                try:
                    for frame in reader.read(segment):
                        self._decoded.put(frame)
                except DamageError as error:
                    damage = str(error)
                self._decoded.put(SegmentEnd(segment.number, damage))
                if damage is not None:
                    break
            self._decoded.end()
        except ClosedError:
            pass
        except BaseException as error:
            self._decoded.end(error)

    def _stylize(self) -> Iterator[Item]:
        """Yield segments, stylized frames and ends in order, with several frames in flight."""
        waiting: deque[Segment | _Pending | SegmentEnd] = deque()
        previous: int | None = None
        for item in self._decoded:
            if isinstance(item, Segment):
                if previous != item.number - 1:
                    self._stylizer.restore(self._store.state_before(item.number))
                previous = item.number
                waiting.append(item)
            elif isinstance(item, Frame):
                waiting.append(_Pending(item.time, self._stylizer.submit(item.picture)))
            else:
                waiting.append(item._replace(state=self._stylizer.state()))
            while len(waiting) > self._stylizer.in_flight:
                yield _finished(waiting.popleft())
        while waiting:
            yield _finished(waiting.popleft())

    def _encode(self) -> None:
        """Write each segment to its draft and commit it. A finished encoder is flushed while the next one works."""
        writer: SegmentWriter | None = None
        segment: Segment | None = None
        committed: Future[None] | None = None
        try:
            with ThreadPoolExecutor(1) as flusher:
                for item in self._stylized:
                    if isinstance(item, Segment):
                        segment = item
                    elif isinstance(item, Frame):
                        assert segment is not None
                        if writer is None:
                            writer = SegmentWriter(self._store.draft(segment.number), self._encoding, segment.start)
                        writer.write(item.time, item.picture)
                    else:
                        if committed is not None:
                            committed.result()
                        committed = flusher.submit(self._commit, writer, item)
                        writer = segment = None
                if committed is not None:
                    committed.result()
            if writer is not None and segment is not None:
                self.cut_short = SegmentResult(segment.number, *writer.finish())
        except BaseException as error:
            self._encode_error = error
            self._stylized.abandon()
            if writer is not None:
                writer.abort()

    def _commit(self, writer: SegmentWriter | None, end: SegmentEnd) -> None:
        encoded = writer.finish() if writer is not None else (0, 0)
        self._store.commit(SegmentResult(end.number, *encoded, end.damage, end.state))


def _finished(item: Segment | _Pending | SegmentEnd) -> Item:
    return Frame(item.time, item.request.result()) if isinstance(item, _Pending) else item


class _OneFile:
    """Keeps one segment in a file."""

    def __init__(self, path: Path, state: bytes) -> None:
        self._path, self._state = path, state
        self.result: SegmentResult | None = None

    def draft(self, number: int) -> Path:
        return self._path.with_stem(f".{self._path.stem}.part")

    def commit(self, result: SegmentResult) -> None:
        if result.frames:
            self.draft(result.number).replace(self._path)
        self.result = result

    def state_before(self, number: int) -> bytes:
        return self._state


def stylize_segment(
    plan: VideoPlan, number: int, stylizer: FrameStylizer, path: Path, state: bytes = b""
) -> SegmentResult:
    """Stylize one segment of a plan to the file `path`, whose suffix is `plan.encoding.suffix`; the file appears when
    it is whole. `state` is the stylizer's state after the segment before it.

    Raises MediaError if the file cannot be written, BundleError, DeviceError. Where the clip is damaged, the file holds
    the frames before; without any, there is no file.
    """
    store = _OneFile(path, state)
    try:
        for _ in Pipeline(plan.clip, plan.encoding, [plan.segments[number]], stylizer, store).run():
            pass
    finally:
        with contextlib.suppress(OSError):
            store.draft(number).unlink(missing_ok=True)
    if store.result is None:
        raise MediaError(f"{plan.clip.path}: segment {number} was not finished")
    return store.result
