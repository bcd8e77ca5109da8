from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.mean_square import MeanSquare

from .equivalence import Graph, applied, batches, channels, declined, operators, random_graphs, sides

AXES = [[2, 3], [3, 2], [-1, -2], [2, -1]]
ONE_PASS = ["ReduceL2", "Mul", "Mul"]


def square(g: Graph, how: str, x: str = "x") -> str:
    return {
        "power": lambda: g.Pow(x, np.float32(2)),
        "whole power": lambda: g.Pow(x, np.array([2])),
        "product": lambda: g.Mul(x, x),
    }[how]()


@random_graphs
@given(
    batches,
    channels,
    sides,
    sides,
    st.sampled_from(["power", "whole power", "product"]),
    st.sampled_from(AXES),
    st.booleans(),
)
def test_random_graphs(batch: int, count: int, height: int, width: int, how: str, axes: list[int], said: bool) -> None:
    g = Graph((batch, count, height, width))
    y = g.ReduceMean(square(g, how), axes=axes, **({"keepdims": 1} if said else {}))
    assert operators(applied(g.model(y), MeanSquare)) == ONE_PASS


def test_several_without_names_keep_their_own_sizes() -> None:
    g = Graph((1, 3, 6, 8))
    first = g.ReduceMean(g.Pow("x", np.float32(2)), axes=[2, 3])
    small = g.MaxPool("x", kernel_shape=[2, 2], strides=[2, 2])
    second = g.ReduceMean(g.Mul(small, small), axes=[2, 3])
    applied(g.model(g.Add(first, second), small), MeanSquare, times=2)


def test_leaves_other_means() -> None:
    g = Graph((1, 3, 6, 8))
    declined(g.model(g.ReduceMean("x", axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", np.float32(3)), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", np.array([2, 3, 2]).reshape(3, 1, 1)), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", g.input("p", (), TensorProto.INT64)), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Mul("x", g.Relu("x")), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Mul("x", np.float32(2)), axes=[2, 3])), MeanSquare)
    g = Graph((1, 1, 6, 8))  # two to the power of something, and one channel that becomes three
    declined(g.model(g.ReduceMean(g.Pow(np.float32(2), g.Tanh("x")), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", np.full((3, 1, 1), 2.0, np.float32)), axes=[2, 3])), MeanSquare)


def test_leaves_squares_that_others_read() -> None:
    g = Graph((1, 3, 6, 8))
    squares = g.Pow("x", np.float32(2))
    y = g.ReduceMean(squares, axes=[2, 3])
    declined(g.model(y, squares), MeanSquare)
    declined(g.model(y, g.Relu(squares)), MeanSquare)


@pytest.mark.parametrize(
    "attributes", [{"axes": [1]}, {"axes": [1, 2, 3]}, {"axes": [3]}, {}, {"axes": [2, 3], "keepdims": 0}]
)
def test_declines_other_axes(attributes: dict[str, object]) -> None:
    g = Graph((1, 3, 6, 8))
    y = g.ReduceMean(g.Pow("x", np.float32(2)), **attributes)
    declined(g.model(y), MeanSquare, "not over height and width")


def test_declines_any_size() -> None:
    g = Graph(("N", 3, "H", 8))
    y = g.ReduceMean(g.Pow("x", np.float32(2)), axes=[2, 3])
    declined(g.model(y), MeanSquare, "number of pixels is not known")
    g = Graph((3, 6, 8))  # the last two axes of three
    y = g.ReduceMean(g.Pow("x", np.float32(2)), axes=[-2, -1])
    declined(g.model(y), MeanSquare, "number of pixels is not known")


def test_declines_other_types() -> None:
    g = Graph((1, 3, 6, 8))
    y = g.ReduceMean(g.Pow(g.Cast("x", to=TensorProto.DOUBLE), np.float64(2)), axes=[2, 3])
    declined(g.model(y, kind=TensorProto.DOUBLE), MeanSquare, "not in float32")
