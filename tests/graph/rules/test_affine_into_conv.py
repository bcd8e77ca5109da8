from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.affine_into_conv import AffineIntoConv

from .equivalence import (
    PER_CHANNEL,
    SPATIAL_PADS,
    Graph,
    RandomConv,
    affine,
    applied,
    convolutions,
    declined,
    noise,
    none_or_inside,
    operators,
    pairs,
    random_graphs,
    rewritten,
)


@random_graphs
@given(
    convolutions(pads=none_or_inside, strides=pairs(1, 2)),
    st.lists(affine, min_size=1, max_size=3),
    st.lists(st.sampled_from(["reflect", "edge", "constant"]), max_size=2),
)
def test_random_graphs(conv: RandomConv, steps: list[tuple[str, str]], modes: list[str]) -> None:
    g = Graph(conv.dims)
    x = "x"
    for kind, shape in steps:
        x = getattr(g, kind)(x, PER_CHANNEL[shape](conv.inputs))
    for mode in modes:
        x = g.Pad(x, SPATIAL_PADS, mode=mode)
    after, events = rewritten(g.model(conv.add(g, x)), AffineIntoConv)
    expected = len(steps)
    if "constant" in modes or any(conv.pads):  # the steps behind the last shift
        expected = next((number for number, (kind, _) in enumerate(reversed(steps)) if kind != "Mul"), len(steps))
    assert sum(event.applied for event in events) == expected
    assert sum(kind in ("Mul", "Add", "Sub") for kind in operators(after)) == len(steps) - expected
    assert any("zeros are padded" in event.reason for event in events) == (expected < len(steps))


def test_shift_by_zero_passes_zero_padding() -> None:
    g = Graph((1, 3, 6, 6))
    y = g.Conv(g.Add("x", np.zeros((1, 3, 1, 1), np.float32)), noise(2, 3, 3, 3), pads=[1, 1, 1, 1])
    assert operators(applied(g.model(y), AffineIntoConv)) == ["Conv"]


def test_any_size() -> None:
    g = Graph(("N", 3, "H", "W"))
    x = g.Pad(g.Add(g.Mul("x", noise(1, 3, 1, 1)), noise(3, 1, 1)), SPATIAL_PADS, mode="reflect")
    assert operators(applied(g.model(g.Conv(x, noise(2, 3, 3, 3))), AffineIntoConv, times=2)) == ["Pad", "Conv"]


def test_convolutions_that_share_weights_get_their_own() -> None:
    g = Graph((1, 3, 6, 6))
    w = g.constant(noise(2, 3, 3, 3))
    first = g.Conv(g.Mul("x", noise(1, 3, 1, 1)), w)
    second = g.Conv(g.Mul("x", noise(3, 1, 1)), w)
    applied(g.model(first, second), AffineIntoConv, times=2)


@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_declines_unreadable_padding(mode: str) -> None:
    """test_reading.py reads all kinds of paddings."""
    g = Graph((1, 3, 6, 6))
    amounts = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    x = g.Pad(g.Mul("x", np.float32(3)), amounts, mode=mode)
    declined(g.model(g.Conv(x, noise(2, 3, 3, 3))), AffineIntoConv, "a padding before it is computed")


def test_ignores_tensors_with_other_readers() -> None:
    g = Graph((1, 3, 6, 6))
    x = g.Mul("x", np.float32(3))
    y = g.Conv(x, noise(2, 3, 3, 3))
    declined(g.model(y, x), AffineIntoConv)
    declined(g.model(y, g.Relu(x)), AffineIntoConv)
    padded = g.Pad(x, SPATIAL_PADS)
    declined(g.model(g.Conv(padded, noise(2, 3, 3, 3)), padded), AffineIntoConv)


@pytest.mark.parametrize("operand", [noise(2, 3, 1, 1), noise(6), noise(1, 3, 6, 1), noise(2, 1, 1, 1)], ids=np.shape)
def test_ignores_operands_that_are_not_per_channel(operand: np.ndarray) -> None:
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Conv(g.Mul("x", operand), noise(2, 3, 3, 3))), AffineIntoConv)


@pytest.mark.parametrize("dims", [(2, 1, 6, 6), (3, 6, 6)])
def test_ignores_operands_that_add_channels_or_dimensions(dims: tuple[int, ...]) -> None:
    g = Graph(dims)
    declined(g.model(g.Conv(g.Mul("x", noise(1, 3, 1, 1)), noise(2, 3, 3, 3))), AffineIntoConv)


def test_ignores_computed_and_swapped_operands() -> None:
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Conv(g.Mul("x", g.input("s", (1, 3, 1, 1))), noise(2, 3, 3, 3))), AffineIntoConv)
    g = Graph((2, 3, 6, 6))
    declined(g.model(g.Conv(g.Sub(np.float32(1), "x"), noise(2, 3, 3, 3))), AffineIntoConv)


def test_ignores_grouped_and_unreadable_convolutions() -> None:
    g = Graph((1, 4, 6, 6))
    x = g.Mul("x", np.float32(3))
    declined(g.model(g.Conv(x, noise(2, 2, 3, 3), group=2)), AffineIntoConv)
    declined(g.model(g.Conv(x, noise(2, 4, 3, 3), auto_pad="SAME_UPPER")), AffineIntoConv)
    declined(g.model(g.Conv(x, g.input("w", (2, 4, 3, 3)))), AffineIntoConv)
