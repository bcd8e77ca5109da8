"""Frames stylized with less flicker: a stylizer that remembers the frame before."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nstopt.engines.smoothed import SmoothedEngine
from nstopt.media.stabilize import Former, Stabilizer
from nstopt.pictures.files import Picture
from nstopt.video.stylizer import EngineStylizer


class _Done(NamedTuple):
    """A frame that needs no waiting."""

    picture: Picture

    def result(self) -> Picture:
        return self.picture


class StabilizedStylizer(EngineStylizer):
    """Stylizes frames one after the other, since each depends on the result of the one before."""

    def __init__(self, engine: SmoothedEngine, bundle: Path, strength: float) -> None:
        """`bundle` is the engine's folder; `strength` is 0..1. Raises BundleError for an engine of a fixed batch."""
        super().__init__(engine, bundle)
        self.identity += f", stabilized by {strength:g}"
        self._stabilizer = Stabilizer(engine, strength)

    def submit(self, picture: Picture) -> _Done:
        return _Done(self._stabilizer(picture))

    def state(self) -> bytes:
        """The former frame as an .npz file."""
        former = self._stabilizer.former
        if former is None:
            return b""
        file = io.BytesIO()
        np.savez(file, former.small, former.result, *former.statistics)
        return file.getvalue()

    def restore(self, state: bytes) -> None:
        self._stabilizer.former = _read(state) if state else None


def _read(state: bytes) -> Former:
    with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
        small, result, *statistics = (arrays[f"arr_{number}"] for number in range(len(arrays.files)))
    return Former(small, result, tuple(statistics))
