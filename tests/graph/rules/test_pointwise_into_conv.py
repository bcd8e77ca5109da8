from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.pointwise_into_conv import PointwiseIntoConv

from .equivalence import (
    SPATIAL_PADS,
    Graph,
    RandomConv,
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

GROUPED = "grouped, or the 1x1 convolution is strided or padded"
pointwise = convolutions(inputs=st.integers(1, 4), kernels=pairs(1, 1))


@random_graphs
@given(
    pointwise,
    convolutions(pads=none_or_inside, kernels=pairs(1, 5), strides=pairs(1, 2)),
    st.lists(st.sampled_from(["reflect", "edge", "constant"]), max_size=2),
)
def test_random_graphs(first: RandomConv, second: RandomConv, modes: list[str]) -> None:
    first = first._replace(size=second.size, outputs=second.inputs)
    g = Graph(first.dims)
    x = first.add(g)
    for mode in modes:
        x = g.Pad(x, SPATIAL_PADS, mode=mode)
    after, events = rewritten(g.model(second.add(g, x)), PointwiseIntoConv)
    if first.has_bias and ("constant" in modes or any(second.pads)):
        assert "zeros are padded" in events[0].reason
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
    declined(g.model(g.Conv(x, noise(2, 4, 3, 3))), PointwiseIntoConv, GROUPED)


def test_declines_a_grouped_second_convolution() -> None:
    g = Graph((1, 4, 9, 9))
    x = g.Conv("x", noise(4, 4, 1, 1))
    declined(g.model(g.Conv(x, noise(2, 2, 3, 3), group=2)), PointwiseIntoConv, GROUPED)


@pytest.mark.parametrize("bias", [[], [noise(4)]], ids=["no bias", "bias"])
def test_declines_unreadable_paddings(bias: list[np.ndarray]) -> None:
    """test_reading.py reads all kinds of paddings."""
    g = Graph((1, 3, 9, 9))
    amounts = g.Concat(np.zeros(7, np.int64), g.input("n", (1,), TensorProto.INT64), axis=0)
    y = g.Conv(g.Pad(g.Conv("x", noise(4, 3, 1, 1), *bias), amounts), noise(2, 4, 3, 3))
    declined(g.model(y), PointwiseIntoConv, "a padding before it is computed")


def test_ignores_tensors_with_other_readers() -> None:
    g = Graph((1, 3, 9, 9))
    x = g.Conv("x", noise(4, 3, 1, 1))
    padded = g.Pad(x, SPATIAL_PADS, mode="reflect")
    y = g.Conv(padded, noise(2, 4, 3, 3))
    declined(g.model(y, x), PointwiseIntoConv)
    declined(g.model(y, padded), PointwiseIntoConv)
    declined(g.model(y, g.Relu(x)), PointwiseIntoConv)


def test_ignores_other_convolutions() -> None:
    g = Graph((1, 3, 9, 9))
    declined(g.model(g.Conv(g.Conv("x", noise(4, 3, 1, 3)), noise(2, 4, 3, 3))), PointwiseIntoConv)
    declined(g.model(g.Conv(g.Conv("x", g.input("w", (4, 3, 1, 1))), noise(2, 4, 3, 3))), PointwiseIntoConv)
    declined(g.model(g.Conv(g.Relu(g.Conv("x", noise(4, 3, 1, 1))), noise(2, 4, 3, 3))), PointwiseIntoConv)
    g = Graph((1, 5, 9, 9))
    declined(g.model(g.Conv(g.Conv("x", noise(4, 5, 1, 1)), noise(2, 4, 3, 3))), PointwiseIntoConv)
