"""Rates and latencies over the last frames."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

import numpy as np

KEPT = 240
# FPS are counted over this time.
RATE_S = 2.0


class Rates(NamedTuple):
    """Frames a second; the medians of the net's milliseconds and of those from capture to result, and the latter's 99th
    percentile. All 0 before the first frame."""

    fps: float
    net_ms: float
    latency_ms: float
    latency_p99_ms: float


class Meter:
    """Collects the frames of one pipeline. Any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: deque[tuple[float, float, float]] = deque(maxlen=KEPT)

    def add(self, finished: float, net_ms: float, latency_ms: float) -> None:
        """Count a frame that was finished at this time, in seconds of time.monotonic()."""
        with self._lock:
            self._frames.append((finished, net_ms, latency_ms))

    def rates(self, now: float) -> Rates:
        """Return the rates at a time, in seconds of time.monotonic()."""
        with self._lock:
            frames = list(self._frames)
        if not frames:
            return Rates(0.0, 0.0, 0.0, 0.0)
        recent = [finished for finished, _, _ in frames if finished > now - RATE_S]
        fps = (len(recent) - 1) / (now - recent[0]) if len(recent) > 1 else 0.0
        _, net_ms, latency_ms = np.array(frames).T
        p50, p99 = np.percentile(latency_ms, (50, 99))
        return Rates(fps, float(np.median(net_ms)), float(p50), float(p99))
