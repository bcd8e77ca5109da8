"""What a convolution's input is scaled and shifted by, its weights and bias can do.

    x ─ Mul(s) ─ Add(t) [─ Pad(reflect)] ─ Conv(w, b)   ⇒   x [─ Pad(reflect)] ─ Conv(w * s, b + Σ w * t)

The normalization of a picture goes this way. A shift cannot pass zero padding: there, 0 would have become t.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import (
    Array,
    Convolution,
    Declined,
    Rule,
    Tape,
    constant,
    initializer,
    only_use,
    producer,
    read_convolution,
    read_padding,
)


class Plan(NamedTuple):
    """`pads` are the Pad nodes on the way, the one next to the convolution first."""

    read: Convolution
    source: ir.Value
    pads: list[ir.Node]
    scale: Array
    shift: Array


class AffineIntoConv(Rule):
    anchors = ("Conv",)

    def plan(self, node: ir.Node) -> Plan | None:
        pads = pads_before(node)
        affine = producer(pads[-1].inputs[0] if pads else node.inputs[0], "Mul", "Add", "Sub")
        read = read_convolution(node)
        if affine is None or read is None or read.group != 1 or only_use(affine.outputs[0]) is None:
            return None
        channels = read.weight.shape[1]
        operand = per_channel(affine, channels)
        if operand is None or affine.inputs[0] is None:
            return None
        scale, shift = np.ones(channels), np.zeros(channels)
        if affine.op_type == "Mul":
            scale = operand
        else:
            shift = operand if affine.op_type == "Add" else -operand
        if pads_with_zeros(read, pads) and shift.any():
            raise Declined("its padding is zeros, which the shift before it does not reach")
        return Plan(read, affine.inputs[0], pads, scale, shift)

    def apply(self, op: Tape, node: ir.Node, plan: Plan) -> tuple[ir.Value, str]:
        read, source = plan.read, plan.source
        for pad in reversed(plan.pads):
            source = op.Pad(source, *pad.inputs[1:], _name=pad.name, **pad.attributes)
        weight = read.weight * plan.scale[None, :, None, None]
        bias = (0 if read.bias is None else read.bias) + np.einsum("oiyx,i->o", read.weight, plan.shift)
        kept = [initializer(op, weight.astype(np.float32), f"{node.inputs[1].name}.scaled")]  # type: ignore[union-attr]
        if read.bias is not None or plan.shift.any():
            kept.append(initializer(op, bias.astype(np.float32), f"{node.name}.shifted.bias"))
        return op.Conv(source, *kept, _name=node.name, **node.attributes), "scale and shift folded into the weights"


def pads_before(node: ir.Node) -> list[ir.Node]:
    """Pad nodes between the convolution and what it reads, as long as nothing else reads them."""
    pads: list[ir.Node] = []
    while (pad := producer(node.inputs[0], "Pad")) is not None and only_use(pad.outputs[0]) is not None:
        pads.append(pad)
        node = pad
    return pads


def pads_with_zeros(read: Convolution, pads: list[ir.Node]) -> bool:
    """Whether zeros come into the picture before the convolution. Declines what is no known padding of it."""
    paddings = [read_padding(pad) for pad in pads]
    if None in paddings:
        raise Declined("what is padded is computed, not zero, or not height and width")
    return any(read.pads) or any(padding.mode == "constant" for padding in paddings if padding is not None)


def per_channel(node: ir.Node, channels: int) -> Array | None:
    """The constant operand of a Mul, Add or Sub as one number per channel of NCHW, or None if it is none, or if it
    gives the other operand channels or dimensions that it has not."""
    operand, other = constant(node.inputs[1]), node.inputs[0]
    shape = None if other is None else other.shape
    if operand is None or operand.ndim > 4 or shape is None or len(shape) != 4 or shape[1] != channels:
        return None
    if operand.size == 1:
        return np.full(channels, operand.item())
    broadcast = (1,) * (4 - operand.ndim) + operand.shape
    return operand.reshape(-1) if broadcast == (1, channels, 1, 1) else None
