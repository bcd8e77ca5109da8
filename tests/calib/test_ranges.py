"""The range found for 8 bits: exact where it can be, never worse than from the least to the largest value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from nstopt.calib.observe import Histogram
from nstopt.calib.ranges import Range, Spread, asymmetric, best_range, mean_squared_error, spread, symmetric

VALUES = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e4, 1e4, width=32))
FEW = settings(max_examples=40)


def seen(*channels: NDArray[np.float32]) -> Spread:
    """The spread of a tensor with these channels."""
    return spread(histogram(*channels))


def histogram(*channels: NDArray[np.float32]) -> Histogram:
    result = Histogram(len(channels))
    result.add(np.stack(channels)[None])
    return result


def restored(values: NDArray[np.floating], found: Range) -> NDArray[np.float64]:
    least, largest = (-127, 127) if found.signed else (0, 255)
    integers = np.clip(np.rint(values / found.scale) + found.zero_point, least, largest)
    return np.asarray((integers - found.zero_point) * found.scale, np.float64)


@FEW
@given(VALUES)
def test_never_worse_than_from_least_to_largest(values: NDArray[np.float32]) -> None:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    all_seen = seen(values)
    for zero_at_zero in (False, True):
        whole = symmetric(max(-low, high)) if zero_at_zero and low < 0 else asymmetric(low, high)
        assume(whole.scale > 1e-30)
        best = mean_squared_error(all_seen, best_range(all_seen, zero_at_zero))
        assert best <= mean_squared_error(all_seen, whole) * (1 + 1e-9)


@FEW
@given(VALUES, st.booleans())
def test_zero_is_exact_and_the_scale_a_float32(values: NDArray[np.float32], zero_at_zero: bool) -> None:
    found = best_range(seen(values), zero_at_zero)
    assert 0 <= found.zero_point <= 255
    assert found.zero_point == 0 or not zero_at_zero
    assert found.signed == (zero_at_zero and values.min() < 0)
    assert found.scale > 0
    assert found.scale == np.float32(found.scale)
    assert restored(np.zeros(1), found) == [0]


@given(st.floats(-1e4, 0, width=32), st.floats(0, 1e4, width=32))
def test_a_range_reaches_from_end_to_end(low: float, high: float) -> None:
    assume(high - low > 1e-6)
    for found in (asymmetric(low, high), symmetric(max(-low, high))):
        ends = restored(np.array([low, high]), found)
        np.testing.assert_allclose(ends, [low, high], atol=found.scale)


def test_bytes_are_exact() -> None:
    values = np.arange(256, dtype=np.float32)
    found = best_range(seen(values))
    assert found.zero_point == 0
    np.testing.assert_allclose(restored(values, found), values, rtol=1e-6)


def test_a_rare_far_value_is_clipped() -> None:
    values = np.random.default_rng(0).normal(0, 1, 1_000_000).astype(np.float32)
    values[0] = 12.0
    found = best_range(seen(values))
    assert (255 - found.zero_point) * found.scale < 8


@pytest.mark.parametrize("value", [0.0, -3.0, 5.0])
def test_constants(value: float) -> None:
    found = best_range(seen(np.full(10, value, np.float32)))
    np.testing.assert_allclose(restored(np.array([value]), found), value, rtol=1e-3)


def test_channels_are_merged_scaled_and_weighted() -> None:
    first, second = np.linspace(-1, 1, 101, dtype=np.float32), np.linspace(0, 8, 101, dtype=np.float32)
    both = histogram(first, second)
    plain = spread(both)
    assert (plain.low, plain.high) == (-1, 8)
    assert plain.weights.sum() == 202
    scaled = spread(both, factors=np.array([1.0, 4.0]), importance=np.array([1.0, 3.0]))
    assert (scaled.low, scaled.high) == (-1, 2)
    assert scaled.weights.sum() == 101 + 3 * 101
    mean = np.average(scaled.values, weights=scaled.weights)
    assert mean == pytest.approx((first.mean() + 3 * second.mean() / 4) / 4, abs=0.01)
