"""Percentiles against numpy, and the rules for warm-up and notes on series with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nstopt.bench.statistics import (
    is_overdue,
    is_steady,
    outlier_warnings,
    pictures_per_second,
    spread_warnings,
    summarize,
)


@settings(max_examples=30)
@given(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=60))
def test_a_summary_has_the_percentiles_of_numpy(samples_ms: list[float]) -> None:
    latency = summarize(samples_ms)
    expected = np.percentile(samples_ms, [50, 90, 99])
    assert [latency.p50, latency.p90, latency.p99] == pytest.approx(expected.tolist())
    assert latency.mean == pytest.approx(np.mean(samples_ms))
    assert latency.min == min(samples_ms)
    assert latency.samples == tuple(samples_ms)


def test_a_constant_series_is_steady_after_enough_runs_and_time() -> None:
    assert not is_steady([200.0] * 5)
    assert is_steady([200.0] * 6)
    assert not is_steady([1.0] * 499)
    assert is_steady([1.0] * 500)


def test_a_falling_series_is_not_steady_until_it_levels_out() -> None:
    falling = [900.0, 700.0, 500.0, 400.0, 350.0, 320.0]
    assert not is_steady(falling)
    assert is_steady(falling + [300.0] * 6)


def test_a_series_with_one_slow_run_is_steady() -> None:
    assert is_steady([200.0, 200.0, 200.0, 200.0, 900.0, 200.0])


def test_a_warm_up_is_overdue_after_its_time_and_least_runs() -> None:
    assert not is_overdue([10_000.0] * 5)
    assert is_overdue([10_000.0] * 6)
    assert not is_overdue([10.0] * 1000)


def test_fps_counts_every_picture_of_a_batch() -> None:
    assert pictures_per_second(summarize([100.0, 100.0]), batch=4) == pytest.approx(40.0)


def test_an_uneven_series_is_noted() -> None:
    assert spread_warnings(summarize([100.0] * 10)) == ()
    (note,) = spread_warnings(summarize([100.0] * 8 + [200.0] * 2))
    assert note.startswith("uneven: p90 is 2.00x the median")


def test_outliers_are_noted() -> None:
    usual = [100.0, 101.0, 99.0, 102.0, 98.0]
    assert outlier_warnings([*usual, 110.0]) == ()
    assert outlier_warnings([*usual, 150.0]) == ("1 of 6 runs are outliers, the furthest 150.0 ms",)
    assert outlier_warnings([100.0] * 5 + [101.0]) == ()
