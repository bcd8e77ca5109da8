"""Time a video through each engine: decoding, the net and encoding alone, and all three overlapped.

The stages share the CPU's cores, so the whole has two limits: the slowest stage alone, and the cores divided by the CPU
time that a frame takes in all stages together.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from nstopt import engines
from nstopt.engines.engine import Engine
from nstopt.pictures.files import Picture
from nstopt.progress import Progress, Silent
from nstopt.video.decode import FrameReader
from nstopt.video.encode import SegmentWriter
from nstopt.video.pipeline import Pipeline, SegmentResult
from nstopt.video.plan import VideoJob, VideoPlan, plan_video
from nstopt.video.segments import Segment
from nstopt.video.stylizer import EngineStylizer, PendingFrame

ROUNDS = 3
# Segments that the whole is timed on at most, and about how long; a stage alone needs fewer.
SEGMENTS, STAGE_SEGMENTS, WHOLE_S = 6, 2, 15.0
KEPT_BYTES = 256 << 20


class StageTime(NamedTuple):
    """Frames a second, and the CPU time of all threads in milliseconds a frame."""

    fps: float
    cpu_ms: float


class VideoTiming(NamedTuple):
    """The medians of an engine that works on `streams` frames side by side, on `cores` cores."""

    engine: str
    streams: int
    cores: int
    decode: StageTime
    net: StageTime
    encode: StageTime
    whole: StageTime

    @property
    def slowest_fps(self) -> float:
        """Frames a second of the slowest stage alone."""
        return min(self.decode.fps, self.net.fps, self.encode.fps)

    @property
    def cores_fps(self) -> float:
        """Frames a second if all cores worked all the time, and no stage took more CPU time than alone."""
        return self.cores * 1e3 / (self.decode.cpu_ms + self.net.cpu_ms + self.encode.cpu_ms)


def time_video(bundles: Sequence[Path], clip: Path, progress: Progress | None = None) -> list[VideoTiming]:
    """Time the first frames of a clip through each engine; one that has streams is timed with one and with as many as
    `nstopt stylize` takes. All take turns. Raises MediaError, BundleError, DeviceError."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="nstopt-")))
        plan = plan_video(VideoJob(clip, folder / "out.mkv"))
        loaded = [
            (path, opened.enter_context(engine)) for path in bundles for engine in _with_one_and_several_streams(path)
        ]
        stages = _Stages(plan, folder, [EngineStylizer(engine, path) for path, engine in loaded])
        samples: list[list[tuple[StageTime, ...]]] = [[] for _ in loaded]
        turns = [(number, *one) for _ in range(ROUNDS) for number, one in enumerate(loaded)]
        for number, path, engine in (progress or Silent()).track(turns, len(turns), "timing"):
            stylizer = EngineStylizer(engine, path)
            samples[number].append((stages.decode(), stages.net(stylizer), stages.encode(), stages.whole(stylizer)))
        cores = len(os.sched_getaffinity(0))
        return [
            VideoTiming(path.stem, engine.streams, cores, *(_median(stage) for stage in zip(*found, strict=True)))
            for (path, engine), found in zip(loaded, samples, strict=True)
        ]


def _with_one_and_several_streams(path: Path) -> Iterator[Engine]:
    several = engines.load(path, streams=None)
    if several.streams > 1:
        yield engines.load(path)
    yield several


class _Stages:
    """Runs each stage of a plan alone, and all of them together."""

    def __init__(self, plan: VideoPlan, folder: Path, stylizers: Sequence[EngineStylizer]) -> None:
        self._plan, self._folder = plan, folder
        self._few = plan.segments[:1]
        kept = max(2, KEPT_BYTES // (3 * plan.clip.size.height * plan.clip.size.width))
        self._pictures = [frame.picture for frame in itertools.islice(FrameReader(plan.clip).read(self._few[0]), kept)]
        slowest = min((self.net(stylizer).fps for stylizer in stylizers), default=0.0)
        count = max(1, min(SEGMENTS, round(WHOLE_S * slowest / self._few[0].frames)))
        self._segments = plan.segments[:count]
        self._few = self._segments[:STAGE_SEGMENTS]

    def decode(self) -> StageTime:
        reader = FrameReader(self._plan.clip)
        return _timed(lambda: sum(1 for segment in self._segments for _ in reader.read(segment)))

    def net(self, stylizer: EngineStylizer) -> StageTime:
        """The net alone, with as many frames in flight as in the pipeline; it is warmed up by its first frame."""
        stylizer.submit(self._pictures[0]).result()
        return _timed(lambda: self._submit_all(stylizer))

    def _submit_all(self, stylizer: EngineStylizer) -> int:
        pending: deque[PendingFrame] = deque()
        for picture in self._frames():
            pending.append(stylizer.submit(picture))
            if len(pending) > stylizer.in_flight:
                pending.popleft().result()
        for request in pending:
            request.result()
        return sum(segment.frames for segment in self._few)

    def _frames(self) -> Iterator[Picture]:
        count = sum(segment.frames for segment in self._few)
        return itertools.islice(itertools.cycle(self._pictures), count)

    def encode(self) -> StageTime:
        """The encoder alone, on the clip's own frames."""
        return _timed(lambda: sum(self._encode(segment) for segment in self._few))

    def _encode(self, segment: Segment) -> int:
        path = self._folder / f"alone{self._plan.encoding.suffix}"
        writer = SegmentWriter(path, self._plan.encoding, segment.start)
        times = [time for time in self._plan.clip.times if segment.start <= time][: segment.frames]
        for shown, picture in zip(times, itertools.cycle(self._pictures), strict=False):
            writer.write(shown, picture)
        return writer.finish().frames

    def whole(self, stylizer: EngineStylizer) -> StageTime:
        store = _Drafts(self._folder, self._plan.encoding.suffix)
        pipeline = Pipeline(self._plan.clip, self._plan.encoding, self._segments, stylizer, store)
        return _timed(lambda: sum(1 for _ in pipeline.run()))


class _Drafts:
    """Keeps no segment."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder, self._suffix = folder, suffix

    def draft(self, number: int) -> Path:
        return self._folder / f"{number}{self._suffix}"

    def commit(self, result: SegmentResult) -> None:
        self.draft(result.number).unlink()

    def state_before(self, number: int) -> bytes:
        return b""


def _timed(work: Callable[[], int]) -> StageTime:
    """Time `work`, which returns the number of its frames."""
    cpu, begin = time.process_time(), time.perf_counter()
    frames = work()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return StageTime(frames / seconds, cpu * 1e3 / frames)


def _median(samples: Sequence[StageTime]) -> StageTime:
    return StageTime(statistics.median(one.fps for one in samples), statistics.median(one.cpu_ms for one in samples))
