from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.pad_into_conv import PadIntoConv

from .equivalence import (
    SPATIAL_PADS,
    Graph,
    RandomConv,
    applied,
    convolutions,
    declined,
    noise,
    operators,
    pairs,
    random_graphs,
)


@random_graphs
@given(
    convolutions(strides=pairs(1, 3), groups=st.integers(1, 2)),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_random_graphs(conv: RandomConv, pads: list[int]) -> None:
    g = Graph(conv.dims)
    x = g.Pad("x", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]]))
    assert operators(applied(g.model(conv.add(g, x)), PadIntoConv)) == ["Conv"]


def test_two_paddings_at_any_size() -> None:
    g = Graph(("N", 2, "H", "W"))
    x = g.Pad("x", np.array([0, 0, 1, 2, 0, 0, 0, 1]), np.float32(0), mode="constant")
    x = g.Pad(x, np.array([0, 0, 2, 0, 0, 0, 1, 1]))
    y = g.Conv(x, noise(2, 2, 3, 3), auto_pad="NOTSET", dilations=[1, 2])
    assert operators(applied(g.model(y), PadIntoConv, times=2)) == ["Conv"]


def test_padding_with_other_readers() -> None:
    g = Graph((1, 2, 6, 6))
    x = g.Pad("x", SPATIAL_PADS)
    first, second = g.Conv(x, noise(2, 2, 3, 3)), g.Conv(x, noise(2, 2, 1, 1))
    after = applied(g.model(first, second, x), PadIntoConv, times=2)
    assert operators(after) == ["Pad", "Conv", "Conv"]


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_declines_modes(mode: str) -> None:
    g = Graph((1, 2, 6, 6))
    y = g.Conv(g.Pad("x", SPATIAL_PADS, mode=mode), noise(2, 2, 3, 3))
    declined(g.model(y), PadIntoConv, f"the padding is {mode}")


def test_declines_unreadable_paddings() -> None:
    """test_reading.py reads all kinds of paddings."""
    g = Graph((1, 2, 6, 6))
    amounts = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    for x in (g.Pad("x", amounts), g.Pad("x", SPATIAL_PADS, np.float32(3))):
        declined(g.model(g.Conv(x, noise(2, 2, 3, 3))), PadIntoConv, "the padding is computed, negative, not of zeros")


def test_declines_unreadable_convolutions() -> None:
    g = Graph((1, 2, 6, 6))
    x = g.Pad("x", SPATIAL_PADS)
    reason = "weights are computed, or its padding is implicit"
    declined(g.model(g.Conv(x, noise(2, 2, 3, 3), auto_pad="SAME_UPPER")), PadIntoConv, reason)
    declined(g.model(g.Conv(x, g.input("w", (2, 2, 3, 3)))), PadIntoConv, reason)


def test_ignores_convolutions_of_other_operators() -> None:
    g = Graph((1, 2, 6, 6))
    declined(g.model(g.Conv(g.Relu("x"), noise(2, 2, 3, 3))), PadIntoConv)
