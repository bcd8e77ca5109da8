from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnxscript import ir

from nstopt.graph.reading import (
    Padding,
    constant,
    only_use,
    producer,
    read_convolution,
    read_padding,
    spatial,
)

from .rules.equivalence import Dims, Graph, nodes_of, noise


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        ((1, 3, 6, 7), (6, 7)),
        (("N", 3, 6, 7), (6, 7)),
        ((1, 3, "H", 7), None),
        ((1, 3, 6, "W"), None),
        ((3, 6, 7), None),
    ],
)
def test_spatial(dims: Dims, expected: tuple[int, int] | None) -> None:
    g = Graph(dims)
    (node,) = nodes_of(g, g.Relu("x"))
    assert spatial(node.inputs[0]) == spatial(node.outputs[0]) == expected


def test_unknown_values() -> None:
    assert spatial(None) is None
    assert spatial(ir.Value(name="x")) is None
    assert constant(None) is None
    assert producer(None, "Relu") is None


def test_constants_readers_and_producers() -> None:
    g = Graph((1, 3, 8, 8))
    relu, conv, tanh, mul = nodes_of(g, "t1", g.Mul(g.Tanh(g.Conv(g.Relu("x"), noise(2, 3, 3, 3))), "t1"))
    np.testing.assert_array_equal(constant(conv.inputs[1]), noise(2, 3, 3, 3))
    assert constant(conv.inputs[0]) is None
    assert (only_use(relu.outputs[0]), only_use(conv.outputs[0])) == (conv, None)
    assert only_use(tanh.outputs[0]) is mul
    assert only_use(mul.outputs[0]) is None
    assert producer(conv.inputs[0], "Tanh", "Relu") is relu
    assert producer(conv.inputs[0], "Tanh") is None
    assert producer(relu.inputs[0], "Relu") is None


def test_producer_ignores_operators_of_other_domains() -> None:
    node = ir.Node("com.example", "Relu", [], num_outputs=1)
    assert producer(node.outputs[0], "Relu") is None


def test_read_convolution() -> None:
    g = Graph((1, 4, 8, 8))
    (node,) = nodes_of(
        g, g.Conv("x", noise(6, 2, 3, 3), noise(6), group=2, strides=[2, 1], pads=[1, 2, 3, 0], dilations=[1, 2])
    )
    read = read_convolution(node)
    assert read is not None
    assert read.bias is not None
    assert (read.weight.shape, read.bias.shape) == ((6, 2, 3, 3), (6,))
    assert read[2:] == ((2, 1), (1, 2, 3, 0), 2, True)
    (plain,) = nodes_of(g, g.Conv("x", noise(6, 4, 3, 3), None, auto_pad="NOTSET"))
    read = read_convolution(plain)
    assert read is not None
    assert read[1:] == (None, (1, 1), (0, 0, 0, 0), 1, False)


def test_unreadable_convolutions() -> None:
    g = Graph((1, 4, 8, 8))
    half = g.Cast("x", to=TensorProto.FLOAT16)
    unreadable = [
        g.Conv("x", g.input("w", (2, 4, 3, 3))),
        g.Conv("x", noise(2, 4, 3, 3), g.input("b", (2,))),
        g.Conv("x", noise(2, 4, 3, 3), auto_pad="VALID"),
        g.ConvTranspose("x", noise(4, 2, 3, 3), auto_pad="SAME_UPPER"),
        g.Conv(g.Reshape("x", np.array([1, 4, 64])), noise(2, 4, 3)),
        g.Cast(g.Conv(half, noise(2, 4, 3, 3).astype(np.float16)), to=TensorProto.FLOAT),
    ]
    convolutions = [node for node in nodes_of(g, *unreadable) if node.op_type.startswith("Conv")]
    assert [read_convolution(node) for node in convolutions] == [None] * 6


def test_read_padding() -> None:
    g = Graph((1, 3, 8, 8))
    (node,) = nodes_of(g, g.Pad("x", np.array([0, 0, 1, 2, 0, 0, 3, 4]), mode="reflect"))
    assert read_padding(node) == Padding(node.inputs[0], "reflect", (1, 2, 3, 4))  # type: ignore[arg-type]
    (node,) = nodes_of(g, g.Pad("x", np.array([0, 0, 1, 2, 0, 0, 3, 4]), np.float32(0)))
    assert read_padding(node) == Padding(node.inputs[0], "constant", (1, 2, 3, 4))  # type: ignore[arg-type]
    (node,) = nodes_of(g, g.Pad("x", np.zeros(8, np.int64), None))
    assert read_padding(node) == Padding(node.inputs[0], "constant", (0, 0, 0, 0))  # type: ignore[arg-type]


def test_unreadable_paddings() -> None:
    g = Graph((1, 3, 8, 8))
    unreadable = [
        g.Relu("x"),
        g.Pad("x", np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(1)),
        g.Pad("x", np.array([0, 0, 1, 1, 0, 0, 1, 1]), g.input("fill", ())),
        g.Pad("x", g.input("amounts", (8,), TensorProto.INT64)),
        g.Pad("x", np.array([0, 1, 1, 1, 0, 0, 1, 1])),
        g.Pad("x", np.array([0, 0, 1, 1, 1, 0, 1, 1])),
        g.Pad("x", np.array([0, 0, 1, 1, 0, 0, 1, -1])),
        g.Pad(g.Reshape("x", np.array([3, 8, 8])), np.array([0, 1, 1, 0, 1, 1])),
    ]
    nodes = [node for node in nodes_of(g, *unreadable) if node.op_type in ("Relu", "Pad")]
    assert [read_padding(node) for node in [None, *nodes]] == [None] * 9
