"""Fold a per-channel scale or shift into the preceding Conv.

Conv(w, b) ─ Mul(s) ─ Add(t)   ⇒   Conv(w * s, b * s + t)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, only_use, per_channel, producer, read_convolution
from nstopt.graph.rule import Array, Rule, Tape, weight_and_bias


class Match(NamedTuple):
    """The output of `conv_node` is multiplied by `scale` [C], or `shift` [C] is added to it."""

    conv_node: ir.Node
    conv: Convolution
    scale: Array
    shift: Array


class AffineOutOfConv(Rule):
    anchors = ("Mul", "Add", "Sub")

    def match(self, node: ir.Node) -> Match | None:
        conv_node = producer(node.inputs[0], "Conv")
        conv = read_convolution(conv_node)
        if conv_node is None or conv is None or only_use(conv_node.outputs[0]) is None:
            return None
        channels = conv.weight.shape[0]
        operand = per_channel(node, channels)
        if operand is None:
            return None
        if node.op_type == "Mul":
            return Match(conv_node, conv, operand, np.zeros(channels))
        return Match(conv_node, conv, np.ones(channels), operand if node.op_type == "Add" else -operand)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        conv_node, conv = match.conv_node, match.conv
        weight = conv.weight * match.scale[:, None, None, None]
        bias = (0 if conv.bias is None else conv.bias) * match.scale + match.shift
        constants = weight_and_bias(op, conv_node, weight, bias if bias.any() else None, node.op_type)
        out = op.Conv(conv_node.inputs[0], *constants, _name=conv_node.name, **conv_node.attributes)
        return out, f"{node.op_type} folded into {conv_node.name}"
