"""A live session: the loaded engines, one source for all viewers, and the pipeline between them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from nstopt import engines
from nstopt.errors import MediaError, NstoptError
from nstopt.live.capture import Capture
from nstopt.live.controls import Change, Controls, unique_names
from nstopt.live.pipeline import Pipeline, Style
from nstopt.live.recording import Recording
from nstopt.live.shots import Shot
from nstopt.live.sources import Source
from nstopt.pictures.size import Size


class Status(msgspec.Struct, frozen=True):
    """What displays show beside the picture. `notice` says why no new pictures come, and is empty while they do.
    `latency_ms` and its 99th percentile are from capture to the result; displays add their own. `size` is the net's."""

    source: str
    notice: str
    controls: Controls
    fps: float
    net_ms: float
    latency_ms: float
    latency_p99_ms: float
    size: Size | None
    camera_size: Size | None
    dropped: int
    is_recording: bool


class Session:
    """One source through one pipeline. `say` gets lines about the source and about files that were written."""

    def __init__(
        self, styles: Sequence[Style], controls: Controls, source: Source, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.pipeline = Pipeline(styles, controls)
        self.capture = Capture(source, self._feed, say)
        self.camera_size: Size | None = None
        self._folder, self._say = folder, say
        self._recording: Recording | None = None

    def start(self) -> None:
        """Open the source, run every engine once on its first shot, and begin. Raises MediaError, DeviceError or
        BundleError."""
        shot = self.capture.first()
        self.camera_size = shot.size
        self.pipeline.warm_up(shot)
        self.pipeline.start()
        self.capture.start()

    def close(self) -> None:
        """Finish a recording, and end the threads."""
        self.capture.stop()
        try:
            if self.is_recording:
                self.stop_recording()
        except MediaError as error:
            self._say(str(error))
        self.pipeline.close()

    def change(self, change: Change) -> None:
        """Change the controls. Raises NstoptError if that cannot be."""
        self.pipeline.change(change)

    @property
    def is_recording(self) -> bool:
        return self._recording is not None

    def new_file(self, suffix: str) -> Path:
        """Return the path of a file to write in the session's folder, which does not exist yet."""
        name = f"live-{file_name(self.pipeline.controls.style)}-{time.strftime('%Y%m%d-%H%M%S')}"
        paths = (self._folder / f"{name}{mark}{suffix}" for mark in ("", *(f"-{number}" for number in range(2, 100))))
        path = next((path for path in paths if not path.exists()), None)
        if path is None:
            raise MediaError(f"{self._folder}: too many files of this second")
        return path

    def start_recording(self) -> Path:
        """Record to a new file in the session's folder, and return its path. Raises NstoptError if a recording is
        running, MediaError if the file cannot be written."""
        if self._recording:
            raise NstoptError(f"{self._recording.path} is being recorded already")
        self._recording = Recording(self.pipeline.results, self.new_file(".mp4"))
        return self._recording.path

    def stop_recording(self) -> Path:
        """Finish the recording and return its path. Raises NstoptError if there is none, MediaError if it could not be
        written."""
        if not self._recording:
            raise NstoptError("nothing is being recorded")
        recording, self._recording = self._recording, None
        path = recording.stop()
        self._say(f"wrote {path}: {recording.frames} frames")
        return path

    def status(self) -> Status:
        pipeline, latest = self.pipeline, self.pipeline.results.latest
        rates = pipeline.meter.rates(time.monotonic())
        return Status(
            source=self.capture.source.name,
            notice=str(pipeline.error) if pipeline.error else self.capture.state,
            controls=pipeline.controls,
            fps=rates.fps,
            net_ms=rates.net_ms,
            latency_ms=rates.latency_ms,
            latency_p99_ms=rates.latency_p99_ms,
            size=Size(*latest.picture.shape[:2]) if latest else None,
            camera_size=self.camera_size,
            dropped=pipeline.dropped,
            is_recording=self.is_recording,
        )

    def _feed(self, shot: Shot) -> None:
        self.camera_size = shot.size
        self.pipeline.feed(shot)


def load_styles(bundles: Sequence[Path], stack: ExitStack) -> list[Style]:
    """Load engine bundles until `stack` is closed. Styles have the names of the nets. Raises BundleError or
    DeviceError."""
    loaded = [stack.enter_context(engines.load(bundle)) for bundle in bundles]
    names = unique_names([engine.manifest.net.name for engine in loaded])
    return [Style(name, engine) for name, engine in zip(names, loaded, strict=True)]


def file_name(text: str) -> str:
    """Return a text as a part of a file's name."""
    return re.sub(r"[^\w-]+", "-", text)
