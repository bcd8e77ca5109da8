"""How many times as fast one case is as another, with a confidence interval from the runs of both.

Cases that took turns are compared round by round: a round is the runs of one turn of each, taken within moments of each
other, so that what slowed the machine then slowed both. The interval is a percentile bootstrap (Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13): rounds are drawn with replacement, the same for both cases, and the
ratio of the medians of all runs drawn is taken each time. Cases that did not take turns, or hardly any, are drawn each
for itself, run by run; that interval knows nothing of what changed between the two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.runs.record import Record

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
LEAST_ROUNDS = 5


class Ratio(NamedTuple):
    """A ratio of medians and its 95% confidence interval."""

    value: float
    low: float
    high: float


def speedup(record: Record, other: Record, same_run: bool = True) -> Ratio:
    """How many times as fast `record` is as `other`: above 1, it is the faster one. Records of two runs never took
    turns."""
    ours, theirs = np.array(record.latency_ms.samples), np.array(other.latency_ms.samples)
    random = np.random.default_rng(SEED)
    if same_run and _took_turns(record, other):
        rounds = [np.arange(start, start + (record.round_runs or 1)) for start in _round_starts(record)]
        drawn = random.integers(0, len(rounds), (RESAMPLES, len(rounds)))
        of_ours = of_theirs = np.stack(rounds)[drawn].reshape(RESAMPLES, -1)
    else:
        of_ours = random.integers(0, len(ours), (RESAMPLES, len(ours)))
        of_theirs = random.integers(0, len(theirs), (RESAMPLES, len(theirs)))
    ratios = _medians(theirs, of_theirs) / _medians(ours, of_ours)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(bound) for bound in np.quantile(ratios, (tail, 1 - tail)))
    return Ratio(other.latency_ms.p50 / record.latency_ms.p50, low, high)


def _took_turns(record: Record, other: Record) -> bool:
    same = record.round_runs == other.round_runs and record.batch == other.batch and record.size == other.size
    same_runs = len(record.latency_ms.samples) == len(other.latency_ms.samples)
    return record.round_runs is not None and same and same_runs and len(_round_starts(record)) >= LEAST_ROUNDS


def _round_starts(record: Record) -> range:
    """First runs of the full rounds; runs of a shorter last one are left out of the drawing."""
    each = record.round_runs or 1
    return range(0, len(record.latency_ms.samples) - each + 1, each)


def _medians(samples: NDArray[np.float64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each resample."""
    medians: NDArray[np.float64] = np.median(samples[drawn], axis=1)
    return medians
