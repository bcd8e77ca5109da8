from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.mean_square import MeanSquare

from .equivalence import Graph, applied, declined, operators, random_graphs, shapes

AXES = [[2, 3], [3, 2], [-1, -2], [2, -1]]
SQUARES = {
    "power": lambda g: g.Pow("x", np.float32(2)),
    "integer power": lambda g: g.Pow("x", np.array([2])),
    "product": lambda g: g.Mul("x", "x"),
}


@random_graphs
@given(shapes, st.sampled_from(sorted(SQUARES)), st.sampled_from(AXES), st.sampled_from([{}, {"keepdims": 1}]))
def test_random_graphs(shape: tuple[int, ...], square: str, axes: list[int], keepdims: dict[str, int]) -> None:
    g = Graph(shape)
    y = g.ReduceMean(SQUARES[square](g), axes=axes, **keepdims)
    assert operators(applied(g.model(y), MeanSquare)) == ["ReduceL2", "Mul", "Mul"]


def test_means_without_names_keep_their_own_sizes() -> None:
    g = Graph((1, 3, 6, 8))
    first = g.ReduceMean(g.Pow("x", np.float32(2)), axes=[2, 3])
    small = g.MaxPool("x", kernel_shape=[2, 2], strides=[2, 2])
    second = g.ReduceMean(g.Mul(small, small), axes=[2, 3])
    applied(g.model(g.Add(first, second), small), MeanSquare, times=2)


def test_ignores_other_means() -> None:
    g = Graph((1, 3, 6, 8))
    declined(g.model(g.ReduceMean("x", axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", np.float32(3)), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", np.array([2, 3, 2]).reshape(3, 1, 1)), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", g.input("p", (), TensorProto.INT64)), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Mul("x", g.Relu("x")), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Mul("x", np.float32(2)), axes=[2, 3])), MeanSquare)
    g = Graph((1, 1, 6, 8))  # two to the power of a tensor, and one channel that becomes three
    declined(g.model(g.ReduceMean(g.Pow(np.float32(2), g.Tanh("x")), axes=[2, 3])), MeanSquare)
    declined(g.model(g.ReduceMean(g.Pow("x", np.full((3, 1, 1), 2.0, np.float32)), axes=[2, 3])), MeanSquare)


def test_ignores_squares_with_other_readers() -> None:
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


@pytest.mark.parametrize(("dims", "axes"), [(("N", 3, "H", 8), [2, 3]), ((3, 6, 8), [-2, -1])])
def test_declines_unknown_sizes(dims: tuple[int | str, ...], axes: list[int]) -> None:
    g = Graph(dims)
    y = g.ReduceMean(g.Pow("x", np.float32(2)), axes=axes)
    declined(g.model(y), MeanSquare, "number of pixels is not known")


def test_declines_other_types() -> None:
    g = Graph((1, 3, 6, 8))
    y = g.ReduceMean(g.Pow(g.Cast("x", to=TensorProto.DOUBLE), np.float64(2)), axes=[2, 3])
    declined(g.model(y, kind=TensorProto.DOUBLE), MeanSquare, "not in float32")
