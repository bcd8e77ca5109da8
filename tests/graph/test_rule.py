from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnxscript import ir

from nstopt.graph.nodes import initializers
from nstopt.graph.passes import apply
from nstopt.graph.reading import producer
from nstopt.graph.rule import PLAIN, Context, Declined, Event, Layer, Rule, Tape, initializer, layer_name

from .rules.equivalence import Graph, applied, nodes_of, noise, rewritten


def test_layers_as_text() -> None:
    assert str(Layer.of("few-outputs", (3, 16, 9, 9), (512, 640))) == "few-outputs 3x16x9x9x512x640"
    assert str(Layer.of("few-outputs", (3, 16, 9, 9), None)) == "few-outputs 3x16x9x9x0x0"


def test_layer_names() -> None:
    g = Graph((1, 3, 8, 8))
    relu, conv = nodes_of(g, g.Conv(g.Relu("x"), noise(2, 3, 3, 3)))
    assert (layer_name(relu), layer_name(conv)) == ("t0", "c0")
    assert layer_name(ir.Node("", "Tanh", [])) == "Tanh"


class Shift(Rule):
    """Adds zero before each ReLU, and declines sigmoids."""

    anchors = ("Relu", "Sigmoid")

    def match(self, node: ir.Node) -> Any:
        if node.op_type == "Sigmoid":
            raise Declined("it is a sigmoid")
        return node if producer(node.inputs[0], "Add") is None else None

    def replace(self, op: Tape, node: ir.Node, match: Any) -> tuple[ir.Value, str]:
        zero = initializer(op, node, np.zeros(1, np.float32), "zero")
        return op.Relu(op.Add(node.inputs[0], zero), _name=node.name), "shifted"


def test_the_log_has_each_event_once() -> None:
    g = Graph((1, 3, 8, 8))
    model = g.model(g.Sigmoid(g.Relu("x")))
    for node in model.graph.node:
        node.name = node.op_type
    context = Context(lambda layer: PLAIN)
    apply(model, Shift, context)
    assert context.events == [
        Event("Shift", "Relu", True, "shifted"),
        Event("Shift", "Sigmoid", False, "it is a sigmoid"),
    ]


class Scale(Rule):
    """Adds constants that differ, but have the same name if the nodes have."""

    anchors = ("Tanh",)

    def match(self, node: ir.Node) -> Any:
        return node

    def replace(self, op: Tape, node: ir.Node, match: Any) -> tuple[ir.Value, str]:
        number = len(self.context.events) + 1
        return op.Mul(node.inputs[0], initializer(op, node, np.array([number], np.float32), "factor")), f"{number}"


def test_constants_of_the_same_name_get_numbers() -> None:
    g = Graph((1, 3, 8, 8))
    model = g.model(*(g.Tanh("x") for _ in range(3)))
    for node in model.graph.node:
        node.name = "tanh"
    after = apply(model, Scale, Context(lambda layer: PLAIN))
    assert sorted(initializers(after.graph)) == ["tanh.factor", "tanh.factor#2", "tanh.factor#3"]


def test_other_operators_stay_unchanged() -> None:
    g = Graph((1, 3, 8, 8))
    model = g.model(g.Tanh("x"))
    after, events = rewritten(model, Shift)
    assert (after, events) == (model, [])
    with pytest.raises(AssertionError):
        applied(model, Shift)
