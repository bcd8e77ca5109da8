from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.graph.rules.sink_layout import SinkLayout

from .equivalence import Graph, applied, batches, channels, declined, noise, operators, random_graphs, sides

SHORT = np.array([1, 1]), np.array([-1, 9]), np.array([2, 3])


def moved(g: Graph, kind: str, x: str) -> str:
    """What only moves values about."""
    return {
        "DCR": lambda: g.DepthToSpace(x, blocksize=2),
        "CRD": lambda: g.DepthToSpace(x, blocksize=2, mode="CRD"),
        "Slice": lambda: g.Slice(x, *SHORT),
        "every second": lambda: g.Slice(x, np.array([9]), np.array([-99]), np.array([1]), np.array([-2])),
        "Transpose": lambda: g.Transpose(x, perm=[0, 2, 3, 1]),
        "reverse": lambda: g.Transpose(x),
    }[kind]()


def changed(g: Graph, kind: str, x: str) -> str:
    """What changes each value by itself."""
    return {
        "Tanh": lambda: g.Tanh(x),
        "Round": lambda: g.Round(x),
        "Relu": lambda: g.Relu(x),
        "Sigmoid": lambda: g.Sigmoid(x),
        "Clip": lambda: g.Clip(x, np.float32(-1), np.float32(4)),
        "Clip above": lambda: g.Clip(x, None, np.float32(4)),
        "Mul": lambda: g.Mul(x, np.float32(1.5)),
        "Add": lambda: g.Add(x, noise(1)),
        "Sub": lambda: g.Sub(x, noise(1, 1, 1, 1)),
        "Div": lambda: g.Div(x, noise(1, 1, 1)),
    }[kind]()


LAYOUT_KINDS = ["DCR", "CRD", "Slice", "every second", "Transpose", "reverse"]
CHANGE_KINDS = ["Tanh", "Round", "Relu", "Sigmoid", "Clip", "Clip above", "Mul", "Add", "Sub", "Div"]


@random_graphs
@given(
    batches,
    channels,
    sides,
    sides,
    st.sampled_from(LAYOUT_KINDS),
    st.lists(st.sampled_from(CHANGE_KINDS), min_size=1, max_size=4),
)
def test_random_graphs(batch: int, count: int, height: int, width: int, layout: str, changes: list[str]) -> None:
    g = Graph((batch, 4 * count, height, width))
    x = moved(g, layout, "x")
    for change in changes:
        x = changed(g, change, x)
    found = operators(applied(g.model(x), SinkLayout, times=len(changes)))
    assert found.index(g.nodes[0].op_type) == len(found) - 1


def test_several_layouts_at_any_size() -> None:
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


def test_leaves_other_casts() -> None:
    g = Graph((1, 12, 4, 5))
    y = g.Cast(g.Transpose("x"), to=TensorProto.DOUBLE)
    declined(g.model(y, kind=TensorProto.DOUBLE), SinkLayout)


def test_leaves_what_others_read() -> None:
    g = Graph((1, 12, 4, 5))
    x = g.Transpose("x")
    y = g.Relu(x)
    declined(g.model(y, x), SinkLayout)
    declined(g.model(y, g.Softplus(x)), SinkLayout)
    declined(g.model(g.Mul(x, x)), SinkLayout)


@pytest.mark.parametrize("operand", [noise(3), noise(1, 1, 12, 1), noise(1, 1, 1, 1, 1)])
def test_declines_operands_that_differ_or_widen(operand: np.ndarray) -> None:
    g = Graph((3, 12, 4, 5))
    declined(g.model(g.Mul(g.Transpose("x"), operand)), SinkLayout, "not one number for all channels")


def test_declines_computed_operands() -> None:
    g = Graph((3, 12, 4, 5))
    declined(g.model(g.Add(g.Transpose("x"), g.input("b", ()))), SinkLayout, "not one number for all channels")
    declined(g.model(g.Add(g.Transpose("x"), g.Transpose("x"))), SinkLayout, "not one number for all channels")


def test_leaves_what_mixes_values() -> None:
    g = Graph((1, 12, 4, 5))
    declined(g.model(g.Softmax(g.Transpose("x"), axis=1)), SinkLayout)
    declined(g.model(g.Relu(g.Reshape("x", np.array([1, 4, 12, 5])))), SinkLayout)
