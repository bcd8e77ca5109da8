"""Measure a live session beside a loop that captures, stylizes and shows one frame after the other.

The camera is simulated: it takes CAPTURE_MS for a frame, from the moment when it is asked for one. Both sides do the
same work on a frame: colors and size for the net, the net, and a JPEG file for the display.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from nstopt.engines.engine import Engine
from nstopt.gpu import facts
from nstopt.live.controls import Controls
from nstopt.live.moving_picture import moving_picture
from nstopt.live.page.mjpeg import to_jpeg
from nstopt.live.pipeline import Style
from nstopt.live.session import Session
from nstopt.live.shots import Shot, Stylized
from nstopt.live.slot import Broadcast, ClosedError
from nstopt.live.sources import MOVING_PICTURE_SIZE
from nstopt.media.stylize import stylize
from nstopt.pictures.size import Size
from nstopt.projection.model import Workload, gpu_efficiency, of_gpu, project

# The report that this project starts from: ReCoNet with FRN in PyTorch on a GTX 1060, at 512x512.
REPORTED_CAPTURE_MS, REPORTED_NET_MS, REPORTED_REST_MS, REPORTED_FPS = 33.0, 65.0, 30.0, 8.0
CAPTURE_MS = REPORTED_CAPTURE_MS
PICTURES = 30
SECONDS = 10.0


class LiveFigures(NamedTuple):
    """Milliseconds of capture, net and the rest for a frame, frames a second, and milliseconds from capture to display,
    None where they are not known. All are medians. Projected figures are ranges, others have both ends equal."""

    name: str
    capture_ms: float
    net_ms: tuple[float, float]
    rest_ms: float
    fps: tuple[float, float]
    latency_ms: float | None


class SlowCamera:
    """A camera that takes CAPTURE_MS for each frame."""

    name = "simulated camera"
    reconnects = False

    def __init__(self, size: Size) -> None:
        self.size = size
        pictures = [moving_picture(size, number / PICTURES) for number in range(PICTURES)]
        self._frames = [
            av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p") for picture in pictures
        ]

    def shots(self) -> Iterator[Shot]:
        for frame in itertools.cycle(self._frames):
            captured = time.monotonic()
            time.sleep(CAPTURE_MS / 1e3)
            yield Shot(frame, captured)


def measure_live(engine: Engine, seconds: float = SECONDS) -> list[LiveFigures]:
    """Run an engine in a loop and in a live session, each for some seconds, and return the figures of both."""
    camera = SlowCamera(engine.shape.sizes.only or MOVING_PICTURE_SIZE)
    return [_one_after_the_other(engine, camera, seconds), _live(engine, camera, seconds)]


def _one_after_the_other(engine: Engine, camera: SlowCamera, seconds: float) -> LiveFigures:
    shots = camera.shots()
    parts: list[tuple[float, float, float]] = []
    begin = time.monotonic()
    while time.monotonic() < begin + seconds or len(parts) < 3:
        marks = [time.monotonic()]
        shot = next(shots)
        marks.append(time.monotonic())
        picture = np.asarray(shot.frame.to_ndarray(format="rgb24"), np.uint8)
        marks.append(time.monotonic())
        stylized = stylize(engine, picture)
        marks.append(time.monotonic())
        to_jpeg(Stylized(stylized, picture, "", shot.captured), has_bar=False)
        marks.append(time.monotonic())
        capture, colors, net, display = (float(step) for step in np.diff(marks) * 1e3)
        parts.append((capture, net, colors + display))
    capture_ms, net_ms, rest_ms = (float(median) for median in np.median(parts[1:], axis=0))
    total_ms = capture_ms + net_ms + rest_ms
    fps = 1e3 / total_ms
    return LiveFigures("one after the other", capture_ms, (net_ms, net_ms), rest_ms, (fps, fps), total_ms)


def _live(engine: Engine, camera: SlowCamera, seconds: float) -> LiveFigures:
    session = Session([Style("live", engine)], Controls("live"), camera, Path(), lambda line: None)
    display = _Display(session.pipeline.results)
    session.start()
    try:
        time.sleep(seconds)
        net_ms = session.status().net_ms
    finally:
        session.close()
        display.join()
    shown = len(display.latencies_ms) - 1
    fps = shown / (display.last - display.first) if shown > 0 else 0.0
    latency_ms = statistics.median(display.latencies_ms or [0.0])
    return LiveFigures(
        "nstopt live", CAPTURE_MS, (net_ms, net_ms), statistics.median(display.rest_ms or [0.0]), (fps, fps), latency_ms
    )


class _Display(threading.Thread):
    """Makes a JPEG file of every result, as the page's fallback does."""

    def __init__(self, results: Broadcast[Stylized]) -> None:
        super().__init__(name="display", daemon=True)
        self._results = results
        self.rest_ms: list[float] = []
        self.latencies_ms: list[float] = []
        self.first = self.last = 0.0
        self.start()

    def run(self) -> None:
        with self._results.subscribe() as slot:
            try:
                while shown := slot.take():
                    begin = time.monotonic()
                    to_jpeg(shown, has_bar=False)
                    self.last = time.monotonic()
                    self.first = self.first or self.last
                    self.rest_ms.append((self.last - begin) * 1e3)
                    self.latencies_ms.append((self.last - shown.captured) * 1e3)
            except ClosedError:
                return


def as_reported() -> LiveFigures:
    """The figures of the report."""
    net, fps = (REPORTED_NET_MS, REPORTED_NET_MS), (REPORTED_FPS, REPORTED_FPS)
    return LiveFigures("as reported, GTX 1060", REPORTED_CAPTURE_MS, net, REPORTED_REST_MS, fps, None)


def project_live(net: str, model: Path, size: Size, target: str) -> list[LiveFigures]:
    """Project both ways to run a net on a GPU that is not here, with capture and rest as reported.

    Raises DeviceError for an unknown GPU, BuildError or ExportError if the net cannot be built."""
    gpu = facts.gpu(target)
    rows = []
    for precision in ("fp32", "int8"):
        workload = Workload(net, model, precision, size, generation=gpu.architecture)
        found = project(workload, of_gpu(gpu), gpu_efficiency(gpu, precision), target)
        times_ms = (found.low_ms, found.high_ms)
        for name, frame_ms in (
            ("one after the other", [REPORTED_CAPTURE_MS + ms + REPORTED_REST_MS for ms in times_ms]),
            ("nstopt live", [max(REPORTED_CAPTURE_MS, ms, REPORTED_REST_MS) for ms in times_ms]),
        ):
            fps = (1e3 / frame_ms[1], 1e3 / frame_ms[0])
            title = f"{name}, {gpu.title}, {precision}, projected"
            rows.append(LiveFigures(title, REPORTED_CAPTURE_MS, times_ms, REPORTED_REST_MS, fps, None))
    return rows
