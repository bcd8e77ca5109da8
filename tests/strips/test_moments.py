from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nstopt.graph.statistics import NORM
from nstopt.strips.moments import CHUNK, Moments


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.sampled_from([0.0, 100.0, -30000.0]))
@settings(derandomize=True, database=None, max_examples=20)
def test_parts_give_the_moments_of_the_whole(heights: list[int], offset: float) -> None:
    rng = np.random.default_rng(len(heights))
    parts = [
        (rng.standard_normal((height, 17, 5)) * [1, 2, 3, 4, 0.5] + offset).astype(np.float32) for height in heights
    ]
    found = Moments(5)
    with ThreadPoolExecutor(2) as pool:
        for part in parts:
            found.add(part, pool)
    whole = np.concatenate(parts).astype(np.float64)
    assert found.count == whole[..., 0].size
    np.testing.assert_allclose(found.mean, whole.mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.variance, whole.var((0, 1)), rtol=1e-5)


def test_many_numbers_far_from_zero() -> None:
    """A plain sum of squares in float32 has no digit of the variance left here."""
    part = (np.random.default_rng(0).standard_normal((64, CHUNK // 64, 3)) + 5000).astype(np.float32)
    found = Moments(3)
    with ThreadPoolExecutor(2) as pool:
        found.add(part, pool)
    np.testing.assert_allclose(found.variance, part.astype(np.float64).var((0, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    "operator", ["GlobalAveragePool", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare", NORM]
)
def test_what_operators_compute(operator: str) -> None:
    part = np.random.default_rng(0).standard_normal((6, 7, 4)).astype(np.float32) + 2
    expected = {
        "ReduceL2": lambda: [np.sqrt((part**2).sum((0, 1)))],
        "ReduceSum": lambda: [part.sum((0, 1))],
        "ReduceSumSquare": lambda: [(part**2).sum((0, 1))],
        NORM: lambda: [part.mean((0, 1)), part.var((0, 1))],
    }.get(operator, lambda: [part.mean((0, 1))])()
    found = Moments(4)
    with ThreadPoolExecutor(1) as pool:
        found.add(part, pool)
    for one, other in zip(found.values(operator), expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-5)
