"""Stylize the frames of a video so that they flicker less.

Two things make a stylized video flicker. The norms' statistics change with every frame, which shifts colors everywhere;
they are smoothed over frames. And strokes are drawn anew in every frame; each result is blended with the one before,
carried along the motion of the scene, where that motion can be trusted. A cut ends both.

    frame ─┬─ net with smoothed statistics ─────────────────┬─ blended ─ result
           └─ motion, cuts ── the result before, carried ───┘
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nstopt.engines.smoothed import SmoothedEngine, Statistics
from nstopt.media.stylize import stylize
from nstopt.pictures.cuts import is_cut
from nstopt.pictures.files import Picture
from nstopt.pictures.motion import carry, estimate_motion, shrink

# What is kept of the frame before at full strength: of the statistics, and of the result.
KEPT_STATISTICS = 0.9
KEPT_RESULT = 0.8


class Former(NamedTuple):
    """The frame before: the frame at the size of the motion, uint8 [h, w, 3]; the result, uint8 [H, W, 3]; and the
    statistics that the net used."""

    small: Picture
    result: Picture
    statistics: Statistics


class Stabilizer:
    """Stylizes the frames of one video, which it must be given in order. `former` is all that it remembers: set it to
    go on after that frame, or to None to begin anew."""

    def __init__(self, engine: SmoothedEngine, strength: float) -> None:
        """`strength` is 0..1; with 0, every frame is stylized by itself."""
        self._engine = engine
        self._strength = strength
        self.former: Former | None = None

    def __call__(self, frame: Picture) -> Picture:
        """Stylize the next frame, uint8 RGB [H, W, 3]. Raises BundleError if the engine does not take it, DeviceError
        if the device fails."""
        small = shrink(frame)
        former = self.former
        if former is not None and (former.result.shape != frame.shape or is_cut(small, former.small)):
            former = None
        self._engine.memory = self._strength * KEPT_STATISTICS
        self._engine.statistics = former and former.statistics
        result = stylize(self._engine, frame)
        if former is not None:
            carried, trust = carry(former.result, estimate_motion(small, former.small))
            kept = self._strength * KEPT_RESULT * trust
            result = (result + kept * (carried - result)).round().astype(np.uint8)
        self.former = Former(small, result, self._engine.statistics or ())
        return result
