"""A 1x1 convolution of the picture's three channels is part of the convolution after it (AdaIN's VGG starts with one).

x ─ Conv 1x1(v, c) [─ Pad(reflect)] ─ Conv(w, b)   ⇒   x [─ Pad(reflect)] ─ Conv(w · v, b + Σ w · c)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import (
    Convolution,
    Declined,
    Rule,
    Tape,
    initializer,
    only_use,
    producer,
    read_convolution,
)
from nstopt.graph.rules.affine_into_conv import pads_before, pads_with_zeros

# Folding a wider one could multiply more than it saves.
MAX_INPUTS = 4


class Plan(NamedTuple):
    read: Convolution
    first: Convolution
    source: ir.Value
    pads: list[ir.Node]


class PointwiseIntoConv(Rule):
    anchors = ("Conv",)

    def plan(self, node: ir.Node) -> Plan | None:
        pads = pads_before(node)
        before = producer(pads[-1].inputs[0] if pads else node.inputs[0], "Conv")
        read, first = read_convolution(node), read_convolution(before) if before is not None else None
        if before is None or read is None or first is None or only_use(before.outputs[0]) is None:
            return None
        if first.weight.shape[2:] != (1, 1) or first.weight.shape[1] > MAX_INPUTS or before.inputs[0] is None:
            return None
        if first.group != 1 or read.group != 1 or first.strides != (1, 1) or any(first.pads):
            raise Declined("it is grouped, strided or padded")
        if pads_with_zeros(read, pads) and first.bias is not None and first.bias.any():
            raise Declined("zeros are padded after it, which its bias does not reach")
        return Plan(read, first, before.inputs[0], pads)

    def apply(self, op: Tape, node: ir.Node, plan: Plan) -> tuple[ir.Value, str]:
        read, first, source = plan.read, plan.first, plan.source
        for pad in reversed(plan.pads):
            source = op.Pad(source, *pad.inputs[1:], _name=pad.name, **pad.attributes)
        weight = np.einsum("ocyx,ci->oiyx", read.weight, first.weight[:, :, 0, 0]).astype(np.float32)
        parts = [initializer(op, weight, f"{node.name}.merged.weight")]
        if read.bias is not None or first.bias is not None:
            own = 0 if read.bias is None else read.bias
            passed = 0 if first.bias is None else np.einsum("ocyx,c->o", read.weight, first.bias)
            parts.append(initializer(op, np.asarray(own + passed, np.float32), f"{node.name}.merged.bias"))
        return op.Conv(source, *parts, _name=node.name, **node.attributes), "the 1x1 convolution before it folded in"
