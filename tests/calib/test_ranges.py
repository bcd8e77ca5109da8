"""Ranges of 8 bits: 0 is exact, and the MSE range is never worse than the min-max range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import helper

from nstopt.calib.observe import Histogram
from nstopt.calib.ranges import (
    SYMMETRIC,
    Distribution,
    Int8Inputs,
    QuantParams,
    QuantScheme,
    asymmetric,
    mean_squared_error,
    merge_channels,
    min_max_range,
    mse_range,
    shifted,
    symmetric,
)

VALUES = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1e4, 1e4, width=32))
FEW = settings(max_examples=20)


def distribution(*channels: NDArray[np.float32]) -> Distribution:
    """Return the distribution of a tensor with these channels."""
    return merge_channels(histogram(*channels))


def histogram(*channels: NDArray[np.float32]) -> Histogram:
    result = Histogram()
    result.add(np.stack(channels)[None])
    return result


def restored(values: NDArray[np.floating], found: QuantParams) -> NDArray[np.float64]:
    """Return the values after QuantizeLinear and DequantizeLinear."""
    integers = np.clip(np.rint((values - found.offset) / found.scale) + found.zero_point, *found.integers)
    return np.asarray((integers - found.zero_point) * found.scale + found.offset, np.float64)


@FEW
@given(VALUES, st.sampled_from(QuantScheme))
def test_the_mse_range_is_never_worse_than_min_max(values: NDArray[np.float32], scheme: QuantScheme) -> None:
    known = distribution(values)
    min_max = min_max_range(known, scheme)
    assume(min_max.scale > 1e-30)
    best = mean_squared_error(known, mse_range(known, scheme))
    assert best <= mean_squared_error(known, min_max) * (1 + 1e-9)


@FEW
@given(VALUES, st.sampled_from(QuantScheme), st.sampled_from([mse_range, min_max_range]))
def test_zero_is_exact_and_the_scale_a_float32(
    values: NDArray[np.float32], scheme: QuantScheme, find: Callable[[Distribution, QuantScheme], QuantParams]
) -> None:
    found = find(distribution(values), scheme)
    assert 0 <= found.zero_point <= 255
    assert found.zero_point == 0 or scheme is QuantScheme.ASYMMETRIC
    assert found.offset == 0 or scheme is QuantScheme.SHIFTED
    is_signed = {QuantScheme.ASYMMETRIC: False, QuantScheme.UNSIGNED: values.min() < 0}.get(scheme, True)
    assert found.signed == is_signed
    assert found.scale > 0
    assert found.scale == np.float32(found.scale)
    assert restored(np.zeros(1), found) == pytest.approx(0, abs=found.scale * 1e-4)


@given(st.floats(-1e4, 0, width=32), st.floats(0, 1e4, width=32))
def test_a_range_contains_its_ends(low: float, high: float) -> None:
    assume(high - low > 1e-6)
    for found in (asymmetric(low, high), symmetric(max(-low, high)), shifted(low, high)):
        ends = restored(np.array([low, high]), found)
        np.testing.assert_allclose(ends, [low, high], atol=found.scale)


@FEW
@given(VALUES)
def test_an_offset_is_as_fine_as_a_zero_point(values: NDArray[np.float32]) -> None:
    known = distribution(values)
    assume(known.high - known.low > 1e-6)
    free, fixed = (min_max_range(known, scheme) for scheme in (QuantScheme.ASYMMETRIC, QuantScheme.SHIFTED))
    assert free.scale == fixed.scale
    errors = [np.abs(restored(values, found) - values) for found in (free, fixed)]  # ties may be rounded either way
    np.testing.assert_allclose(errors[0], errors[1], atol=free.scale * 0.01)


def test_the_output_of_a_relu_uses_all_of_int8() -> None:
    found = min_max_range(distribution(np.linspace(0, 10, 300, dtype=np.float32)), QuantScheme.SHIFTED)
    assert found.offset == pytest.approx(5, abs=0.05)
    assert found.scale == pytest.approx(10 / 255)


def convolution(operator: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, ["x", "w"], ["y"], **attributes)


@pytest.mark.parametrize(
    ("inputs", "readers", "scheme"),
    [
        (Int8Inputs(("Conv",)), [convolution("Conv")], QuantScheme.ASYMMETRIC),
        (Int8Inputs(("Conv",)), [convolution("Conv"), convolution("ConvTranspose")], QuantScheme.UNSIGNED),
        (SYMMETRIC, [convolution("Conv"), convolution("Conv", pads=[1, 1, 1, 1])], QuantScheme.SHIFTED),
        (SYMMETRIC, [convolution("Conv", auto_pad="SAME_UPPER")], QuantScheme.SYMMETRIC),
        (SYMMETRIC, [convolution("Conv"), convolution("ConvTranspose")], QuantScheme.SYMMETRIC),
    ],
)
def test_all_readers_accept_the_scheme(inputs: Int8Inputs, readers: list[onnx.NodeProto], scheme: QuantScheme) -> None:
    assert inputs.scheme(readers) is scheme


def test_uint8_values_are_exact() -> None:
    values = np.arange(256, dtype=np.float32)
    found = mse_range(distribution(values))
    assert found.zero_point == 0
    np.testing.assert_allclose(restored(values, found), values, rtol=1e-6)


def test_a_rare_outlier_is_clipped() -> None:
    values = np.random.default_rng(0).normal(0, 1, 1_000_000).astype(np.float32)
    values[0] = 12.0
    found = mse_range(distribution(values))
    assert (255 - found.zero_point) * found.scale < 8


@pytest.mark.parametrize("value", [0.0, -3.0, 5.0])
def test_constants(value: float) -> None:
    found = mse_range(distribution(np.full(10, value, np.float32)))
    np.testing.assert_allclose(restored(np.array([value]), found), value, rtol=1e-3)


def test_channels_are_merged_and_scaled() -> None:
    first, second = np.linspace(-1, 1, 101, dtype=np.float32), np.linspace(0, 8, 101, dtype=np.float32)
    both = histogram(first, second)
    plain = merge_channels(both)
    assert (plain.low, plain.high) == (-1, 8)
    assert plain.weights.sum() == 202
    scaled = merge_channels(both, factors=np.array([1.0, 4.0]))
    assert (scaled.low, scaled.high) == (-1, 2)
    mean = np.average(scaled.values, weights=scaled.weights)
    assert mean == pytest.approx((first.mean() + second.mean() / 4) / 2, abs=0.01)
