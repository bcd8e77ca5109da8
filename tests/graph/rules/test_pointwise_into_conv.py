from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.pointwise_into_conv import PointwiseIntoConv

from .equivalence import (
    Array,
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
    rewritten,
    sides,
)
from .test_affine_into_conv import SPATIAL_PADS

ZEROS = "zeros are padded after it"


@random_graphs
@given(
    batches,
    st.integers(1, 4),
    channels,
    channels,
    st.integers(1, 5),
    sides,
    sides,
    biased,
    biased,
    st.integers(1, 2),
    st.data(),
)
def test_random_graphs(
    batch: int,
    inputs: int,
    middle: int,
    outputs: int,
    kernel: int,
    height: int,
    width: int,
    first_bias: bool,
    bias: bool,
    stride: int,
    data: st.DataObject,
) -> None:
    g = Graph((batch, inputs, height + kernel, width + kernel))
    x = g.Conv("x", noise(middle, inputs, 1, 1), *bias_or_none(first_bias, middle))
    modes = data.draw(st.lists(st.sampled_from(["reflect", "edge", "constant"]), max_size=2), "modes")
    for mode in modes:
        x = g.Pad(x, SPATIAL_PADS, mode=mode)
    own = data.draw(st.sampled_from([[0, 0, 0, 0], [1, 0, 2, 1]]), "own")
    w = noise(outputs, middle, kernel, kernel)
    y = g.Conv(x, w, *bias_or_none(bias, outputs), pads=own, strides=[1, stride], dilations=[1, 1])
    after, events = rewritten(g.model(y), PointwiseIntoConv)
    if first_bias and ("constant" in modes or any(own)):
        assert ZEROS in events[0].reason
        assert operators(after).count("Conv") == 2
    else:
        assert operators(after).count("Conv") == 1


def test_any_size() -> None:
    g = Graph(("N", 3, "H", "W"))
    x = g.Pad(g.Conv("x", noise(5, 3, 1, 1), noise(5)), SPATIAL_PADS, mode="reflect")
    assert operators(applied(g.model(g.Conv(x, noise(2, 5, 3, 3))), PointwiseIntoConv)) == ["Pad", "Conv"]


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"pads": [1, 1, 1, 1]}, {"group": 2}])
def test_declines_pointwise_convolutions(attributes: dict[str, object]) -> None:
    g = Graph((1, 4, 9, 9))
    x = g.Conv("x", noise(4, 2 if "group" in attributes else 4, 1, 1), **attributes)
    declined(g.model(g.Conv(x, noise(2, 4, 3, 3))), PointwiseIntoConv, "grouped, strided or padded")


def test_declines_a_grouped_convolution_after_it() -> None:
    g = Graph((1, 4, 9, 9))
    x = g.Conv("x", noise(4, 4, 1, 1))
    declined(g.model(g.Conv(x, noise(2, 2, 3, 3), group=2)), PointwiseIntoConv, "grouped, strided or padded")


@pytest.mark.parametrize("bias", [True, False])
def test_declines_paddings_that_it_cannot_read(bias: bool) -> None:
    for amounts, fill in (
        (SPATIAL_PADS, 3),
        (np.array([0, 1, 0, 0, 0, 0, 0, 0]), 0),
        (np.array([0, 1, 0, 0, 0, -1, 0, 0]), 0),
        (np.array([0, 0, -1, 0, 0, 0, 1, 0]), 0),
        (None, 0),
    ):
        g = Graph((1, 3, 9, 9))
        pads: Array | str | None = amounts
        if amounts is None:
            pads = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
        x = g.Pad(g.Conv("x", noise(4, 3, 1, 1), *bias_or_none(bias, 4)), pads, np.float32(fill))
        count = 4 if amounts is None else 4 + int(amounts[1] + amounts[5])
        y = g.Conv(x, noise(2, count, 3, 3))
        declined(g.model(y), PointwiseIntoConv, "what is padded is computed, not zero")


def test_leaves_what_others_read() -> None:
    g = Graph((1, 3, 9, 9))
    x = g.Conv("x", noise(4, 3, 1, 1))
    padded = g.Pad(x, SPATIAL_PADS, mode="reflect")
    y = g.Conv(padded, noise(2, 4, 3, 3))
    declined(g.model(y, x), PointwiseIntoConv)
    declined(g.model(y, padded), PointwiseIntoConv)
    declined(g.model(y, g.Relu(x)), PointwiseIntoConv)


def test_leaves_other_convolutions() -> None:
    g = Graph((1, 3, 9, 9))
    declined(g.model(g.Conv(g.Conv("x", noise(4, 3, 1, 3)), noise(2, 4, 3, 3))), PointwiseIntoConv)
    declined(g.model(g.Conv(g.Conv("x", g.input("w", (4, 3, 1, 1))), noise(2, 4, 3, 3))), PointwiseIntoConv)
    declined(g.model(g.Conv(g.Relu(g.Conv("x", noise(4, 3, 1, 1))), noise(2, 4, 3, 3))), PointwiseIntoConv)
    g = Graph((1, 5, 9, 9))
    declined(g.model(g.Conv(g.Conv("x", noise(4, 5, 1, 1)), noise(2, 4, 3, 3))), PointwiseIntoConv)
