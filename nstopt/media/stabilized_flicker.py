"""Measure what stabilizing a video gains and costs: its flicker, time, and the distance from the ordinary frames."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nstopt.calib.quality import psnr_db
from nstopt.engines import load
from nstopt.engines.engine import Engine
from nstopt.engines.smoothed import load_smoothed
from nstopt.media.flicker import FRAMES, Clip, Flicker, flicker, read_clip
from nstopt.media.sizes import common_sizes
from nstopt.media.stabilize import Stabilizer
from nstopt.media.stylize import stylize
from nstopt.pictures.files import Picture
from nstopt.progress import Progress


class StabilizedFlicker(NamedTuple):
    """The flicker at one strength; the median time of a frame in milliseconds; and the mean PSNR in dB, capped at 100,
    to the frames that are stylized one by one."""

    name: str
    strength: float
    flicker: Flicker
    latency_ms: float
    psnr_db: float


def measure_stabilized(
    engines: Sequence[Path], path: Path, strengths: Sequence[float], progress: Progress | None = None
) -> list[StabilizedFlicker]:
    """Measure the flicker of the first frames of a video, stabilized with each strength by each engine bundle. With
    strength 0 the engine is the ordinary one.

    Raises what `flicker.measure` and `load_smoothed` raise.
    """
    with contextlib.ExitStack() as opened:
        loaded = [opened.enter_context(load(engine)) for engine in engines]
        clip = read_clip(path, common_sizes(loaded), FRAMES, progress)
        return [row for pair in zip(engines, loaded, strict=True) for row in _rows(*pair, clip, strengths, progress)]


def _rows(
    bundle: Path, engine: Engine, clip: Clip, strengths: Sequence[float], progress: Progress | None
) -> Iterator[StabilizedFlicker]:
    plain = functools.partial(stylize, engine)
    alone = [plain(frame) for frame in clip.pictures]
    with contextlib.closing(load_smoothed(bundle)) as smoothed:
        for strength in strengths:
            timed = _Timed(Stabilizer(smoothed, strength) if strength else plain)
            found = flicker(clip, timed, progress)
            distances_db = [psnr_db(frame, wanted) for frame, wanted in zip(timed.frames, alone, strict=True)]
            yield StabilizedFlicker(
                bundle.stem, strength, found, statistics.median(timed.samples_ms), statistics.fmean(distances_db)
            )


class _Timed:
    """A stylizer that keeps its frames and their times."""

    def __init__(self, stylize: Callable[[Picture], Picture]) -> None:
        self._stylize = stylize
        self.frames: list[Picture] = []
        self.samples_ms: list[float] = []

    def __call__(self, frame: Picture) -> Picture:
        begin = time.perf_counter()
        self.frames.append(self._stylize(frame))
        self.samples_ms.append((time.perf_counter() - begin) * 1000)
        return self.frames[-1]
