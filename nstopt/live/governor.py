"""Hold a frame rate by the size that the net runs at."""

from __future__ import annotations

import statistics

# Sides of the net's pictures over those of the camera's. A step changes the time by a fifth to a third.
SCALES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.43, 0.37, 0.31, 0.25)
# Share of a frame's time that the net may take: to stay at a size, and, predicted, to go up to the next one. The gap
# between them keeps the size from swinging.
STAY, RISE = 0.95, 0.8
# Frames that are looked at before a change, and frames after one that are not counted: a backend prepares its kernels
# for a new size in its first run.
WINDOW, SETTLE = 8, 2
# Frames at a size before it is raised.
PATIENCE = 30


class Governor:
    """Chooses the largest of SCALES at which the net keeps up with `fps` frames a second."""

    def __init__(self, fps: float, scale: float = 1.0) -> None:
        self._budget_ms = 1000 / fps
        self._step = min(range(len(SCALES)), key=lambda step: abs(SCALES[step] - scale))
        self._samples_ms: list[float] = []

    @property
    def scale(self) -> float:
        """The scale to run the next frame at."""
        return SCALES[self._step]

    def observe(self, net_ms: float, scale: float) -> None:
        """Take the net's time for a frame in. A frame that ran at another scale, before a change, does not count."""
        if scale != self.scale:
            return
        self._samples_ms.append(net_ms)
        if len(self._samples_ms) < SETTLE + WINDOW:
            return
        usual_ms = statistics.median(self._samples_ms[-WINDOW:])
        if usual_ms > STAY * self._budget_ms:
            self._move_to(self._largest_within(usual_ms))
        elif self._step > 0 and len(self._samples_ms) >= PATIENCE and self._predicted(usual_ms, self._step - 1) < RISE:
            self._move_to(self._step - 1)
        elif len(self._samples_ms) >= 2 * PATIENCE:
            del self._samples_ms[:PATIENCE]

    def _predicted(self, now_ms: float, step: int) -> float:
        """Return the share of the budget that a frame would take at a step: time goes with the number of pixels."""
        return now_ms * (SCALES[step] / self.scale) ** 2 / self._budget_ms

    def _largest_within(self, now_ms: float) -> int:
        """Return the next smaller step that fits the budget; the smallest if none does."""
        smaller = range(self._step + 1, len(SCALES))
        return next((step for step in smaller if self._predicted(now_ms, step) <= STAY), len(SCALES) - 1)

    def _move_to(self, step: int) -> None:
        self._step = step
        self._samples_ms.clear()
