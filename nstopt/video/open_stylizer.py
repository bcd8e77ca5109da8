"""Open an engine bundle as the stylizer of a video's frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nstopt import engines
from nstopt.video.stylizer import EngineStylizer


@contextmanager
def open_stylizer(bundle: Path, streams: int | None = None, stabilize: float = 0.0) -> Iterator[EngineStylizer]:
    """Open `bundle` to stylize each frame by itself in `streams` requests (None: the engine's default), or with
    `stabilize`, 0..1, above 0: one frame after the other, with less flicker.

    Raises BundleError, DeviceError; with `stabilize` also what load_smoothed raises.
    """
    if not stabilize:
        with engines.load(bundle, streams) as engine:
            yield EngineStylizer(engine, bundle)
        return
    from nstopt.engines.smoothed import load_smoothed
    from nstopt.video.stabilized import StabilizedStylizer

    with closing(load_smoothed(bundle)) as smoothed:
        yield StabilizedStylizer(smoothed, bundle, stabilize)
