"""What a convolution's output is scaled and shifted by, its weights and bias can do.

Conv(w, b) ─ Mul(s) ─ Add(t)   ⇒   Conv(w * s, b * s + t)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Array, Convolution, Rule, Tape, initializer, only_use, producer, read_convolution
from nstopt.graph.rules.affine_into_conv import per_channel


class Plan(NamedTuple):
    convolution: ir.Node
    read: Convolution
    scale: Array
    shift: Array


class AffineOutOfConv(Rule):
    anchors = ("Mul", "Add", "Sub")

    def plan(self, node: ir.Node) -> Plan | None:
        convolution = producer(node.inputs[0], "Conv")
        read = read_convolution(convolution) if convolution is not None else None
        if convolution is None or read is None or only_use(convolution.outputs[0]) is None:
            return None
        channels = read.weight.shape[0]
        operand = per_channel(node, channels)
        if operand is None:
            return None
        if node.op_type == "Mul":
            return Plan(convolution, read, operand, np.zeros(channels))
        return Plan(convolution, read, np.ones(channels), operand if node.op_type == "Add" else -operand)

    def apply(self, op: Tape, node: ir.Node, plan: Plan) -> tuple[ir.Value, str]:
        convolution, read = plan.convolution, plan.read
        weight = (read.weight * plan.scale[:, None, None, None]).astype(np.float32)
        bias = ((0 if read.bias is None else read.bias) * plan.scale + plan.shift).astype(np.float32)
        parts = [initializer(op, weight, f"{convolution.name}.{node.op_type}.weight")]
        if bias.any():
            parts.append(initializer(op, bias, f"{convolution.name}.{node.op_type}.bias"))
        out = op.Conv(convolution.inputs[0], *parts, _name=convolution.name, **convolution.attributes)
        return out, f"{node.op_type} folded into {convolution.name}"
