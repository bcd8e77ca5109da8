"""Statistics of latency samples, and the rule that ends a warm-up.

A case is steady when the median of its last 3 runs lies within 2% of the median of the 3 runs before, and it has run
for at least half a second, while clocks rise and caches and allocators fill. A warm-up ends after 15 seconds at the
latest. If the case was not steady by then, its record says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nstopt.runs.record import Latencies

WINDOW_RUNS = 3
TOLERANCE = 0.02
MIN_WARMUP_MS = 500.0
MAX_WARMUP_MS = 15_000.0
WIDE_SPREAD = 1.25
# Least modified z-score of an outlier. Iglewicz & Hoaglin, How to Detect and Handle Outliers, 1993, use 3.5; hyperfine
# uses 10, because run times have long tails, and so do we.
OUTLIER_SCORE = 10.0
# Median absolute deviation of a standard normal distribution.
NORMAL_MAD = 0.6745


def is_steady(samples_ms: Sequence[float]) -> bool:
    """Return True if these warm-up samples end steady, by the rule above."""
    if len(samples_ms) < 2 * WINDOW_RUNS or sum(samples_ms) < MIN_WARMUP_MS:
        return False
    last = float(np.median(samples_ms[-WINDOW_RUNS:]))
    before = float(np.median(samples_ms[-2 * WINDOW_RUNS : -WINDOW_RUNS]))
    return abs(last - before) < TOLERANCE * before


def is_overdue(samples_ms: Sequence[float]) -> bool:
    """Return True if a warm-up has used up its time and has at least the runs that the rule needs."""
    return len(samples_ms) >= 2 * WINDOW_RUNS and sum(samples_ms) >= MAX_WARMUP_MS


def summarize(samples_ms: Sequence[float]) -> Latencies:
    """Summarize at least one sample in milliseconds; percentiles are numpy's (linear interpolation)."""
    p50, p90, p99 = (float(value) for value in np.percentile(samples_ms, (50, 90, 99)))
    mean = float(np.mean(samples_ms))
    return Latencies(p50=p50, p90=p90, p99=p99, mean=mean, min=min(samples_ms), samples=tuple(samples_ms))


def pictures_per_second(latency: Latencies, batch: int) -> float:
    """Return FPS at the median latency, so that a reader can check it against the p50 beside it."""
    return 1000.0 * batch / latency.p50


def spread_warnings(latency: Latencies) -> tuple[str, ...]:
    """Return a note if one run in ten took at least a quarter longer than the median."""
    if latency.p90 < WIDE_SPREAD * latency.p50:
        return ()
    return (f"uneven: p90 is {latency.p90 / latency.p50:.2f}x the median (other work on the machine, or throttling)",)


def outlier_warnings(samples_ms: Sequence[float]) -> tuple[str, ...]:
    """Return a note on outliers by the modified z-score, 0.6745 x distance from the median / median distance."""
    distances = np.abs(np.array(samples_ms) - np.median(samples_ms))
    usual = float(np.median(distances)) / NORMAL_MAD
    found = [value for value, distance in zip(samples_ms, distances, strict=True) if distance > OUTLIER_SCORE * usual]
    if not found or usual == 0:
        return ()
    return (f"{len(found)} of {len(samples_ms)} runs are outliers, the furthest {max(found):.1f} ms",)
