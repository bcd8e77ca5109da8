"""What stylizes frames: the protocol of the net's stage, and an engine behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from nstopt.bundle import MANIFEST
from nstopt.engines.engine import Engine
from nstopt.errors import BundleError
from nstopt.files import sha256_file
from nstopt.media.stylize import fit, restore
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size


class PendingFrame(Protocol):
    """A frame that was submitted."""

    def result(self) -> Picture:
        """Wait for the stylized frame, uint8 RGB [H, W, 3], of the size that was submitted. Called once."""
        ...


class FrameStylizer(Protocol):
    """Stylizes frames in the order in which they are shown; see the docstring of nstopt.video."""

    @property
    def identity(self) -> str:
        """Everything that the results depend on, except the frames."""
        ...

    @property
    def in_flight(self) -> int:
        """How many frames may be submitted before the result of the first one is taken."""
        ...

    def submit(self, picture: Picture) -> PendingFrame:
        """Begin to stylize a frame, uint8 RGB [H, W, 3]. Raises BundleError, DeviceError."""
        ...

    def state(self) -> bytes:
        """What must be known of the frames submitted so far to go on after them; empty for a stylizer of single
        frames."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on as after the frames that gave `state`; empty: as before the first frame."""
        ...


class _Fitted:
    """A frame that runs at another size than its own."""

    def __init__(self, pending: PendingFrame, finish: Callable[[Picture], Picture]) -> None:
        self._pending, self._finish = pending, finish

    def result(self) -> Picture:
        return self._finish(self._pending.result())


class EngineStylizer:
    """Stylizes each frame by itself. A frame of a size that the engine does not take is scaled to fit."""

    def __init__(self, engine: Engine, bundle: Path) -> None:
        """`bundle` is the engine's folder. Raises BundleError for an engine of a fixed batch."""
        if engine.shape.batch not in (None, 1):
            raise BundleError(
                f"{engine.name} takes {engine.shape.batch} pictures at a time, and a video is stylized frame by frame: "
                "build with --batch 1"
            )
        self._engine = engine
        self.identity = f"{sha256_file(bundle / MANIFEST)} in {engine.streams} streams"
        self.in_flight = engine.streams

    def submit(self, picture: Picture) -> PendingFrame:
        if Size(*picture.shape[:2]) in self._engine.shape.sizes:
            return self._engine.submit(picture)
        fitted = fit(self._engine, picture)
        return _Fitted(self._engine.submit(fitted.picture), lambda result: restore(result, fitted))

    def state(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        return

    def notes(self, size: Size) -> list[str]:
        """Say in a line if frames of `size` are scaled for the engine."""
        inner = fit(self._engine, np.empty((*size, 3), np.uint8)).inner
        if inner == size:
            return []
        return [
            f"frames of {size} are stylized at {inner} and scaled back "
            f"({self._engine.name} takes {self._engine.shape.sizes})"
        ]
