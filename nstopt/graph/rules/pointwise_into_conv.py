"""Fold a 1x1 convolution of few channels into the following Conv. AdaIN's VGG starts with such a pair.

x ─ Conv 1x1(v, c) [─ Pad(reflect)] ─ Conv(w, b)   ⇒   x [─ Pad(reflect)] ─ Conv(w · v, b + Σ w · c)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, only_use, pads_before, pads_with_zeros, producer, read_convolution
from nstopt.graph.rule import Declined, Rule, Tape, weight_and_bias
from nstopt.graph.rules.affine_into_conv import pad_again

# With more input channels, the merged convolution could multiply more often than the two.
MAX_INPUTS = 4


class Match(NamedTuple):
    """`pads` are the Pad nodes between the two convolutions, the one next to the second first."""

    first: Convolution
    second: Convolution
    source: ir.Value
    pads: list[ir.Node]


class PointwiseIntoConv(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        pads = pads_before(node)
        first_node = producer(pads[-1].inputs[0] if pads else node.inputs[0], "Conv")
        first, second = read_convolution(first_node), read_convolution(node)
        if first_node is None or first is None or second is None or only_use(first_node.outputs[0]) is None:
            return None
        if first.weight.shape[2:] != (1, 1) or first.weight.shape[1] > MAX_INPUTS or first_node.inputs[0] is None:
            return None
        if first.group != 1 or second.group != 1 or first.strides != (1, 1) or any(first.pads):
            raise Declined("one of the two is grouped, or the 1x1 convolution is strided or padded")
        if pads_with_zeros(second, pads) and first.bias is not None and first.bias.any():
            raise Declined("zeros are padded after the bias of the 1x1 convolution")
        return Match(first, second, first_node.inputs[0], pads)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        first, second = match.first, match.second
        weight = np.einsum("ocyx,ci->oiyx", second.weight, first.weight[:, :, 0, 0])
        bias = second.bias
        if first.bias is not None:
            bias = (0 if bias is None else bias) + np.einsum("ocyx,c->o", second.weight, first.bias)
        constants = weight_and_bias(op, node, weight, bias, "merged")
        source = pad_again(op, match.source, match.pads)
        return op.Conv(source, *constants, _name=node.name, **node.attributes), "1x1 convolution folded in"
