from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.pad_into_conv import PadIntoConv

from .equivalence import (
    Graph,
    applied,
    batches,
    bias_or_none,
    biased,
    channels,
    declined,
    noise,
    operators,
    random_graphs,
    sides,
)

four = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@random_graphs
@given(
    batches,
    channels,
    channels,
    st.integers(1, 2),
    st.integers(1, 5),
    sides,
    sides,
    four,
    four,
    st.integers(1, 3),
    biased,
)
def test_random_graphs(
    batch: int,
    inputs: int,
    outputs: int,
    group: int,
    kernel: int,
    height: int,
    width: int,
    pads: list[int],
    own: list[int],
    stride: int,
    bias: bool,
) -> None:
    g = Graph((batch, inputs * group, height + kernel, width + kernel))
    x = g.Pad("x", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]]))
    w = noise(outputs * group, inputs, kernel, kernel)
    y = g.Conv(x, w, *bias_or_none(bias, outputs * group), pads=own, strides=[stride, 1], group=group)
    assert operators(applied(g.model(y), PadIntoConv)) == ["Conv"]


def test_paddings_in_a_row_at_any_size() -> None:
    g = Graph(("N", 2, "H", "W"))
    x = g.Pad("x", np.array([0, 0, 1, 2, 0, 0, 0, 1]), np.float32(0), mode="constant")
    x = g.Pad(x, np.array([0, 0, 2, 0, 0, 0, 1, 1]))
    y = g.Conv(x, noise(2, 2, 3, 3), auto_pad="NOTSET", dilations=[1, 2])
    assert operators(applied(g.model(y), PadIntoConv, times=2)) == ["Conv"]


def test_padding_that_others_read() -> None:
    g = Graph((1, 2, 6, 6))
    x = g.Pad("x", np.array([0, 0, 1, 2, 0, 0, 0, 1]))
    first, second = g.Conv(x, noise(2, 2, 3, 3)), g.Conv(x, noise(2, 2, 1, 1))
    after = applied(g.model(first, second, x), PadIntoConv, times=2)
    assert operators(after) == ["Pad", "Conv", "Conv"]


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_declines_modes(mode: str) -> None:
    g = Graph((1, 2, 6, 6))
    y = g.Conv(g.Pad("x", np.array([0, 0, 1, 2, 0, 0, 0, 1]), mode=mode), noise(2, 2, 3, 3))
    declined(g.model(y), PadIntoConv, f"the padding is {mode}")


def test_declines_what_is_no_padding_by_zeros_of_known_amounts() -> None:
    reason = "computed, or it is not of height and width"
    for amounts, fill in (
        ([0, 0, 1, 1, 0, 0, 1, 1], 3),
        ([0, 1, 0, 0, 0, 0, 0, 0], 0),
        ([1, 0, 1, 0, 0, 0, 0, 0], 0),
        ([0, 0, -1, 0, 0, 0, 1, 0], 0),
    ):
        g = Graph((1, 2, 6, 6))
        y = g.Conv(g.Pad("x", np.array(amounts), np.float32(fill)), noise(2, 2 + amounts[1], 3, 3))
        declined(g.model(y), PadIntoConv, reason)
    g = Graph((1, 2, 6, 6))
    computed = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    declined(g.model(g.Conv(g.Pad("x", computed), noise(2, 2, 3, 3))), PadIntoConv, reason)


def test_declines_convolutions_that_it_cannot_read() -> None:
    g = Graph((1, 2, 6, 6))
    x = g.Pad("x", np.array([0, 0, 1, 2, 0, 0, 0, 1]))
    declined(g.model(g.Conv(x, noise(2, 2, 3, 3), auto_pad="SAME_UPPER")), PadIntoConv, "computed")
    declined(g.model(g.Conv(x, g.input("w", (2, 2, 3, 3)))), PadIntoConv, "computed")


def test_leaves_convolutions_of_other_things() -> None:
    g = Graph((1, 2, 6, 6))
    declined(g.model(g.Conv(g.Relu("x"), noise(2, 2, 3, 3))), PadIntoConv)
