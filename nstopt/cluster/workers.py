"""What runs on the machines of the cluster. A worker opens its engine at the first task, where an error reaches the
caller as it is."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from nstopt import engines
from nstopt.engines.engine import Engine
from nstopt.media.jobs import PictureJob
from nstopt.media.stylize import JobResult, run
from nstopt.video.open_stylizer import open_stylizer
from nstopt.video.pipeline import SegmentResult, stylize_segment
from nstopt.video.plan import VideoPlan
from nstopt.video.stylizer import EngineStylizer


class PictureWorker:
    """Stylizes pictures."""

    def __init__(self, bundle: Path, keep_alpha: bool) -> None:
        self._bundle, self._keep_alpha = bundle, keep_alpha

    @cached_property
    def _engine(self) -> Engine:
        return engines.load(self._bundle)

    def work(self, job: PictureJob) -> JobResult:
        """Stylize a picture. Raises BundleError or DeviceError if the engine cannot be opened."""
        (result,) = run(self._engine, [job], self._keep_alpha, ahead=0)
        return result


class SegmentWorker:
    """Stylizes segments of one video."""

    def __init__(self, bundle: Path, streams: int, plan: VideoPlan) -> None:
        self._bundle, self._streams, self._plan = bundle, streams, plan
        self._opened = ExitStack()

    @cached_property
    def _stylizer(self) -> EngineStylizer:
        return self._opened.enter_context(open_stylizer(self._bundle, self._streams))

    def work(self, segment: tuple[int, Path]) -> SegmentResult:
        """Stylize the segment of a number to a file. Raises BundleError, DeviceError or MediaError."""
        number, path = segment
        return stylize_segment(self._plan, number, self._stylizer, path)
