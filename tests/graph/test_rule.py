from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnxscript import ir

from nstopt.graph.passes import apply
from nstopt.graph.rule import (
    Context,
    Declined,
    Event,
    Layer,
    Padding,
    Rule,
    Tape,
    constant,
    initializer,
    ints,
    layer_name,
    only_use,
    producer,
    read_convolution,
    read_padding,
    spatial,
)

from .rules.equivalence import Dims, Graph, applied, noise, rewritten


def nodes_of(g: Graph, *outputs: str) -> list[ir.Node]:
    return list(ir.from_proto(g.model(*outputs)).graph)


def test_layers_read_well() -> None:
    assert str(Layer("few-outputs", (3, 16, 9, 9, 512, 512))) == "few-outputs 3x16x9x9x512x512"


def test_names_of_layers() -> None:
    g = Graph((1, 3, 8, 8))
    relu, conv = nodes_of(g, g.Conv(g.Relu("x"), noise(2, 3, 3, 3)))
    assert (layer_name(relu), layer_name(conv)) == ("t0", "c0")
    assert layer_name(ir.Node("", "Tanh", [])) == "Tanh"


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


def test_what_is_not_known() -> None:
    assert spatial(None) is None
    assert spatial(ir.Value(name="x")) is None
    assert constant(None) is None
    assert producer(None, "Relu") is None


def test_constants_uses_and_producers() -> None:
    g = Graph((1, 3, 8, 8))
    relu, conv, tanh, mul = nodes_of(
        g, "t1", g.Mul(g.Tanh(g.Conv(g.Relu("x"), noise(2, 3, 3, 3), strides=[2, 1])), "t1")
    )
    np.testing.assert_array_equal(constant(conv.inputs[1]), noise(2, 3, 3, 3))
    assert constant(conv.inputs[0]) is None
    assert (only_use(relu.outputs[0]), only_use(conv.outputs[0])) == (conv, None)
    assert only_use(tanh.outputs[0]) is mul
    assert only_use(mul.outputs[0]) is None
    assert producer(conv.inputs[0], "Tanh", "Relu") is relu
    assert producer(conv.inputs[0], "Tanh") is None
    assert producer(relu.inputs[0], "Relu") is None
    assert (ints(conv, "strides", [1, 1]), ints(conv, "pads", [0])) == ([2, 1], [0])


def test_a_foreign_operator_of_the_same_name_is_another() -> None:
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


def test_convolutions_that_cannot_be_read() -> None:
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


def test_paddings_that_cannot_be_read() -> None:
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


class Shift(Rule):
    """Adds a number to each ReLU; by its logs one sees when rules are asked."""

    anchors = ("Relu", "Sigmoid")

    def plan(self, node: ir.Node) -> Any:
        if node.op_type == "Sigmoid":
            raise Declined("it is a sigmoid")
        return 2.0 if producer(node.inputs[0], "Add") is None else None

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        zero = initializer(op, np.zeros(1, np.float32), "zero")
        return op.Relu(op.Add(node.inputs[0], zero), _name=node.name), "shifted"


def test_a_rule_logs_what_it_did_and_each_reason_once() -> None:
    g = Graph((1, 3, 8, 8))
    model = g.model(g.Sigmoid(g.Relu("x")))
    for node in model.graph.node:
        node.name = node.op_type
    context = Context(lambda layer: "plain")
    apply(model, Shift, context)
    assert context.events == [
        Event("Shift", "Relu", True, "shifted"),
        Event("Shift", "Sigmoid", False, "it is a sigmoid"),
    ]


class Scale(Rule):
    """Constants that differ, all under one name."""

    anchors = ("Tanh",)

    def plan(self, node: ir.Node) -> Any:
        return node

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        number = float(len(self.context.events) + 1)
        return op.Mul(node.inputs[0], initializer(op, np.array([number], np.float32), "factor")), f"{number}"


def test_constants_of_one_name_are_kept_apart() -> None:
    g = Graph((1, 3, 8, 8))
    model = g.model(*(g.Tanh("x") for _ in range(3)))
    after = apply(model, Scale, Context(lambda layer: "plain"))
    assert sorted(tensor.name for tensor in after.graph.initializer) == ["factor", "factor#2", "factor#3"]


def test_a_rule_without_plan_leaves_the_graph() -> None:
    g = Graph((1, 3, 8, 8))
    model = g.model(g.Tanh("x"))
    after, events = rewritten(model, Shift)
    assert (after, events) == (model, [])
    with pytest.raises(AssertionError):
        applied(model, Shift)
