from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.sink_layout import SinkLayout

from .equivalence import Graph, applied, declined, noise, operators, random_graphs, shapes

SHORT = np.array([1, 1]), np.array([-1, 9]), np.array([2, 3])
Step = Callable[[Graph, str], str]
MOVEMENT: dict[str, Step] = {
    "DCR": lambda g, x: g.DepthToSpace(x, blocksize=2),
    "CRD": lambda g, x: g.DepthToSpace(x, blocksize=2, mode="CRD"),
    "Slice": lambda g, x: g.Slice(x, *SHORT),
    "every second": lambda g, x: g.Slice(x, np.array([9]), np.array([-99]), np.array([1]), np.array([-2])),
    "Transpose": lambda g, x: g.Transpose(x, perm=[0, 2, 3, 1]),
    "reverse": lambda g, x: g.Transpose(x),
}
POINTWISE: dict[str, Step] = {
    "Tanh": lambda g, x: g.Tanh(x),
    "Round": lambda g, x: g.Round(x),
    "Relu": lambda g, x: g.Relu(x),
    "Sigmoid": lambda g, x: g.Sigmoid(x),
    "Clip": lambda g, x: g.Clip(x, np.float32(-1), np.float32(4)),
    "Clip above": lambda g, x: g.Clip(x, None, np.float32(4)),
    "Mul": lambda g, x: g.Mul(x, np.float32(1.5)),
    "Add": lambda g, x: g.Add(x, noise(1)),
    "Sub": lambda g, x: g.Sub(x, noise(1, 1, 1, 1)),
    "Div": lambda g, x: g.Div(x, noise(1, 1, 1)),
}


@random_graphs
@given(
    shapes,
    st.sampled_from(sorted(MOVEMENT)),
    st.lists(st.sampled_from(sorted(POINTWISE)), min_size=1, max_size=4),
)
def test_random_graphs(shape: tuple[int, ...], movement: str, steps: list[str]) -> None:
    batch, channels, height, width = shape
    g = Graph((batch, 4 * channels, height, width))
    x = MOVEMENT[movement](g, "x")
    for step in steps:
        x = POINTWISE[step](g, x)
    found = operators(applied(g.model(x), SinkLayout, times=len(steps)))
    assert found.index(g.nodes[0].op_type) == len(found) - 1


def test_several_movements_at_any_size() -> None:
    g = Graph(("N", 12, "H", "W"))
    x = g.Transpose(g.Slice(g.DepthToSpace("x", blocksize=2, mode="CRD"), *SHORT), perm=[0, 2, 3, 1])
    after = applied(g.model(g.Relu(g.Round(x))), SinkLayout, times=6)
    assert operators(after) == ["Round", "Relu", "DepthToSpace", "Slice", "Transpose"]


def test_bytes_are_moved() -> None:
    g = Graph((1, 12, 4, 5))
    x = g.Transpose(g.DepthToSpace("x", blocksize=2, mode="CRD"), perm=[0, 2, 3, 1])
    y = g.Cast(g.Clip(g.Round(x), np.float32(0), np.float32(255)), to=TensorProto.UINT8)
    after = applied(g.model(y, kind=TensorProto.UINT8), SinkLayout, times=6)
    assert operators(after) == ["Round", "Clip", "Cast", "DepthToSpace", "Transpose"]


def test_ignores_other_casts() -> None:
    g = Graph((1, 12, 4, 5))
    y = g.Cast(g.Transpose("x"), to=TensorProto.DOUBLE)
    declined(g.model(y, kind=TensorProto.DOUBLE), SinkLayout)


def test_ignores_tensors_with_other_readers() -> None:
    g = Graph((1, 12, 4, 5))
    x = g.Transpose("x")
    y = g.Relu(x)
    declined(g.model(y, x), SinkLayout)
    declined(g.model(y, g.Softplus(x)), SinkLayout)
    declined(g.model(g.Mul(x, x)), SinkLayout)


@pytest.mark.parametrize("operand", [noise(3), noise(1, 1, 12, 1), noise(1, 1, 1, 1, 1)], ids=np.shape)
def test_declines_operands_that_are_no_scalar(operand: np.ndarray) -> None:
    g = Graph((3, 12, 4, 5))
    declined(g.model(g.Mul(g.Transpose("x"), operand)), SinkLayout, "not one number for all channels")


def test_declines_computed_operands() -> None:
    g = Graph((3, 12, 4, 5))
    declined(g.model(g.Add(g.Transpose("x"), g.input("b", ()))), SinkLayout, "not one number for all channels")
    declined(g.model(g.Add(g.Transpose("x"), g.Transpose("x"))), SinkLayout, "not one number for all channels")


def test_ignores_operators_that_are_not_pointwise() -> None:
    g = Graph((1, 12, 4, 5))
    declined(g.model(g.Softmax(g.Transpose("x"), axis=1)), SinkLayout)
    declined(g.model(g.Relu(g.Reshape("x", np.array([1, 4, 12, 5])))), SinkLayout)
