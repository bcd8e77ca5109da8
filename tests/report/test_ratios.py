"""Confidence intervals of ratios: they cover the true ratio, and turns narrow them on a machine that drifts."""

from __future__ import annotations

import numpy as np
import pytest
from made import MakeRecord

from nstopt.report.ratios import speedup

ROUNDS, EACH = 20, 3


def drifting() -> np.ndarray:
    """Slow-down of each run by a random factor from 1 to 1.5, the same within a round."""
    return np.repeat(np.random.default_rng(1).uniform(1, 1.5, ROUNDS), EACH)


def test_the_value_is_the_ratio_of_the_medians(make_record: MakeRecord) -> None:
    ratio = speedup(make_record((10.0,) * 9), make_record((25.0,) * 9))
    assert ratio == pytest.approx((2.5, 2.5, 2.5))


def test_the_interval_covers_the_true_ratio(make_record: MakeRecord) -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(40):
        fast, slow = (tuple(scale * random.lognormal(0, 0.05, ROUNDS * EACH)) for scale in (10, 20))
        ratio = speedup(make_record(fast, round_runs=EACH), make_record(slow, round_runs=EACH))
        covered += ratio.low <= 2 <= ratio.high
    assert covered >= 34


def test_turns_narrow_the_interval_on_a_machine_that_drifts(make_record: MakeRecord) -> None:
    fast, slow = tuple(10 * drifting()), tuple(20 * drifting())
    turns = speedup(make_record(fast, round_runs=EACH), make_record(slow, round_runs=EACH))
    alone = speedup(make_record(fast), make_record(slow))
    assert turns.high - turns.low < 0.5 * (alone.high - alone.low)
    assert turns.low <= 2 <= turns.high


def test_runs_of_two_files_never_took_turns(make_record: MakeRecord) -> None:
    fast, slow = (make_record(tuple(scale * drifting()), round_runs=EACH) for scale in (10, 20))
    turns, apart = speedup(fast, slow), speedup(fast, slow, same_run=False)
    assert apart.high - apart.low > turns.high - turns.low


@pytest.mark.parametrize("runs", [1, 2, 4, 7, 16])
def test_any_number_of_runs_is_enough(runs: int, make_record: MakeRecord) -> None:
    ratio = speedup(make_record((10.0,) * runs, round_runs=EACH), make_record((20.0,) * runs, round_runs=EACH))
    assert ratio == pytest.approx((2.0, 2.0, 2.0))


def test_a_single_round_gives_an_interval(make_record: MakeRecord) -> None:
    ratio = speedup(make_record((9.0, 10.0, 12.0), round_runs=EACH), make_record((18.0, 20.0, 26.0), round_runs=EACH))
    assert ratio.low < ratio.value < ratio.high
