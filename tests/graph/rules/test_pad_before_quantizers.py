"""Equal to the last bit: rounding and padding commute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.calib.ranges import shifted
from nstopt.graph.rules.pad_before_quantizers import PadBeforeQuantizers

from .equivalence import SPATIAL_PADS, Graph, applied, declined, operators, random_graphs, run, shapes

SCALE, ZERO = np.float32(0.7), np.int8(0)
PADDED = ["Pad", "QuantizeLinear", "DequantizeLinear"]
Fill = np.float32 | None


def quantized(g: Graph, x: str, scale: np.float32 = SCALE, zero: np.int8 | np.uint8 = ZERO) -> str:
    return g.DequantizeLinear(g.QuantizeLinear(x, scale, zero), scale, zero)


@random_graphs
@given(shapes, st.sampled_from(["reflect", "edge"]))
def test_mirrored_and_repeated_values(shape: tuple[int, ...], mode: str) -> None:
    g = Graph(shape)
    model = g.model(g.Pad(quantized(g, "x"), SPATIAL_PADS, mode=mode))
    after = applied(model, PadBeforeQuantizers)
    assert operators(after) == PADDED
    np.testing.assert_array_equal(run(after)[0], run(model)[0])


@random_graphs
@given(shapes, st.floats(-300, 0), st.floats(0.01, 300))
def test_the_shifted_zero_of_any_range(shape: tuple[int, ...], low: float, high: float) -> None:
    """A range with an offset c quantizes x - c and pads with -c."""
    g, params = Graph(shape), shifted(low, high)
    restored = quantized(g, g.Sub("x", np.float32(params.offset)), np.float32(params.scale))
    model = g.model(g.Pad(restored, SPATIAL_PADS, np.float32(-params.offset)))
    after = applied(model, PadBeforeQuantizers)
    assert operators(after)[-3:] == PADDED
    np.testing.assert_array_equal(run(after)[0], run(model)[0])


@pytest.mark.parametrize("zero", [np.int8(-7), np.uint8(3)])
@pytest.mark.parametrize("fill", [None, np.float32(0)])
def test_zeros_with_any_zero_point(zero: np.int8 | np.uint8, fill: Fill) -> None:
    g = Graph((1, 2, 5, 6))
    pads = (SPATIAL_PADS,) if fill is None else (SPATIAL_PADS, fill)
    assert operators(applied(g.model(g.Pad(quantized(g, "x", zero=zero), *pads)), PadBeforeQuantizers)) == PADDED


def test_one_pad_after_the_other() -> None:
    g = Graph((2, 3, 8, 7))
    y = g.Pad(g.Pad(quantized(g, "x"), SPATIAL_PADS, mode="reflect"), SPATIAL_PADS)
    assert operators(applied(g.model(y), PadBeforeQuantizers, times=2)) == ["Pad", *PADDED]


def test_other_readers_of_the_quantized_tensor_keep_it() -> None:
    g = Graph((2, 3, 8, 7))
    restored = quantized(g, "x")
    model = g.model(g.Pad(restored, SPATIAL_PADS, mode="reflect"), g.Relu(restored))
    assert sorted(operators(applied(model, PadBeforeQuantizers))) == sorted(
        [*PADDED, "QuantizeLinear", "DequantizeLinear", "Relu"]
    )


@pytest.mark.parametrize("fill", [SCALE / 2, SCALE * 128, SCALE * -129])
def test_constants_that_quantizers_change(fill: np.float32) -> None:
    """Between two steps of the grid, or beyond its ends."""
    g = Graph((1, 2, 5, 6))
    declined(g.model(g.Pad(quantized(g, "x"), SPATIAL_PADS, np.float32(fill))), PadBeforeQuantizers, "not on the grid")


def test_computed_constants() -> None:
    g = Graph((1, 2, 5, 6))
    fill = g.ReduceMax("x", keepdims=0)
    declined(g.model(g.Pad(quantized(g, "x"), SPATIAL_PADS, fill)), PadBeforeQuantizers, "not on the grid")


def test_ignores_floats() -> None:
    g = Graph((1, 2, 5, 6))
    declined(g.model(g.Pad(g.Relu("x"), SPATIAL_PADS)), PadBeforeQuantizers)
