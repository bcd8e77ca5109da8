"""Fold a per-channel scale and shift into the following Conv.

    x ─ Mul(s) ─ Add(t) [─ Pad(reflect)] ─ Conv(w, b)   ⇒   x [─ Pad(reflect)] ─ Conv(w * s, b + Σ w * t)

Nets that normalize their input start this way. A shift cannot pass zero padding: the padded values would have to be -t,
not 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import (
    Convolution,
    only_use,
    pads_before,
    pads_with_zeros,
    per_channel,
    producer,
    read_convolution,
)
from nstopt.graph.rule import Array, Declined, Rule, Tape, weight_and_bias


class Match(NamedTuple):
    """`source` is multiplied by `scale` [C], or `shift` [C] is added to it. `pads` are the Pad nodes in between, the
    one next to the convolution first."""

    conv: Convolution
    source: ir.Value
    pads: list[ir.Node]
    scale: Array
    shift: Array


class AffineIntoConv(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        pads = pads_before(node)
        affine = producer(pads[-1].inputs[0] if pads else node.inputs[0], "Mul", "Add", "Sub")
        conv = read_convolution(node)
        if affine is None or conv is None or conv.group != 1 or only_use(affine.outputs[0]) is None:
            return None
        channels = conv.weight.shape[1]
        operand = per_channel(affine, channels)
        if operand is None or affine.inputs[0] is None:
            return None
        scale, shift = np.ones(channels), np.zeros(channels)
        if affine.op_type == "Mul":
            scale = operand
        else:
            shift = operand if affine.op_type == "Add" else -operand
        if pads_with_zeros(conv, pads) and shift.any():
            raise Declined("zeros are padded after the shift")
        return Match(conv, affine.inputs[0], pads, scale, shift)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        conv, bias = match.conv, match.conv.bias
        if bias is not None or match.shift.any():
            bias = (0 if bias is None else bias) + np.einsum("oiyx,i->o", conv.weight, match.shift)
        constants = weight_and_bias(op, node, conv.weight * match.scale[None, :, None, None], bias, "affine")
        source = pad_again(op, match.source, match.pads)
        return op.Conv(source, *constants, _name=node.name, **node.attributes), "scale and shift folded in"


def pad_again(op: Tape, source: ir.Value, pads: list[ir.Node]) -> ir.Value:
    """Add copies of the Pad nodes before a convolution (the nearest first), which pad `source` instead."""
    for pad in reversed(pads):
        source = op.Pad(source, *pad.inputs[1:], _name=pad.name, **pad.attributes)
    return source
