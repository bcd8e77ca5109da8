"""Engines, sources and sessions for the tests of nstopt.live."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from nstopt.engines.engine import Engine
from nstopt.errors import DeviceError, MediaError
from nstopt.live.controls import Controls
from nstopt.live.moving_picture import moving_picture
from nstopt.live.pipeline import Style
from nstopt.live.session import Session
from nstopt.live.shots import Shot
from nstopt.live.sources import MovingPicture, Source
from nstopt.manifest import InputShape
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size

SMALL = Size(96, 128)
PATIENCE_S = 30.0


def quiet(line: str) -> None:
    """Take a line of a session, and print nothing."""


class Inverter(Engine):
    """255 - image after `delay_s` seconds, which stand for the net's time."""

    def __init__(self, shape: InputShape | None = None, delay_s: float = 0.0) -> None:
        super().__init__(shape or InputShape.of(None, None))
        self.delay_s = delay_s

    def _infer(self, images: Picture, out: Picture) -> None:
        time.sleep(self.delay_s)
        np.subtract(255, images, out=out)


class Broken(Inverter):
    """Fails on its third picture, as a device that is lost."""

    calls = 0

    def _infer(self, images: Picture, out: Picture) -> None:
        self.calls += 1
        if self.calls > 2:
            raise DeviceError("the GPU is gone")
        super()._infer(images, out)


class SimulatedCamera:
    """A camera of a test: `frames` lists pictures to give, seconds to wait, and errors to raise. After an error, the
    rest comes when it is opened again."""

    name = "simulated camera"

    def __init__(self, frames: Iterable[Picture | float | MediaError], reconnects: bool = True) -> None:
        self.reconnects = reconnects
        self._frames = iter(frames)

    def shots(self) -> Iterator[Shot]:
        for frame in self._frames:
            if isinstance(frame, MediaError):
                raise frame
            if isinstance(frame, float):
                time.sleep(frame)
            else:
                yield Shot(av.VideoFrame.from_ndarray(frame, format="rgb24"), time.monotonic())


def still(picture: Picture | None = None) -> SimulatedCamera:
    """A camera that shows one picture, by default one of the moving test picture."""
    return SimulatedCamera(itertools.cycle((moving_picture(SMALL, 0.0) if picture is None else picture, 0.03)))


def styles(*engines: Engine) -> list[Style]:
    return [Style(f"style {number}", engine) for number, engine in enumerate(engines, start=1)]


def new_session(
    folder: Path, *engines: Engine, source: Source | None = None, say: Callable[[str], None] = quiet
) -> Session:
    """A session of these engines, of an inverter by default, on the small moving test picture."""
    loaded = styles(*(engines or (Inverter(),)))
    return Session(loaded, Controls(loaded[0].name), source or MovingPicture(SMALL, 30.0), folder, say)


@contextmanager
def running(session: Session) -> Iterator[Session]:
    session.start()
    try:
        yield session
    finally:
        session.close()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds. Fails after PATIENCE_S seconds."""
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.005)


def gray(value: int, size: Size = SMALL) -> Picture:
    return np.full((*size, 3), value, np.uint8)
