"""Speed ratios of two cases, with confidence intervals from the runs of both.

The interval is a percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) of the
ratio of medians. Cases that took turns are resampled by rounds: a round is one turn of each, taken within moments, so
that whatever slowed the machine slowed both. Rounds are drawn with replacement, the same ones for both cases. Cases
that took no turns, or fewer than five, are resampled run by run, each case by itself. Such an interval does not account
for changes of the machine between the two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.runs.record import Record

# scipy.stats.bootstrap would not shorten this: it refuses a single run and needs indices of rounds as its data. Its
# import takes longer than all draws of a report.
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
    """Return the median time of `other` over that of `record`: above 1, `record` is the faster one.

    Records of two runs (`same_run` False) never took turns.
    """
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
    """Indices of the first runs of full rounds. A shorter last round is not drawn."""
    each = record.round_runs or 1
    return range(0, len(record.latency_ms.samples) - each + 1, each)


def _medians(samples: NDArray[np.float64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median of each resample; `drawn` is [resamples, runs], the result [resamples]."""
    medians: NDArray[np.float64] = np.median(samples[drawn], axis=1)
    return medians
