"""Merge the depthwise convolution after a doubling, and the 1x1 convolution after that, into one.

    Resize(nearest x2) [─ Pad] ─ Conv KxK depthwise (v, c) ─ Conv 1x1 (w, b)

    ⇒ dense:  Resize(nearest x2) [─ Pad] ─ Conv KxK (w · v, b + Σ w · c)

The merged convolution multiplies more often. But the depthwise one takes its time for memory, and UpsampleConv then
merges the doubling too, so that nothing of the doubled size is written but the result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, only_use, producer, read_convolution, spatial
from nstopt.graph.rule import PLAIN, Declined, Layer, Rule, Tape, weight_and_bias

KIND = "separable-doubling"


class Match(NamedTuple):
    first: Convolution
    second: Convolution
    node: ir.Node


class MergeSeparable(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        first_node = producer(node.inputs[0], "Conv")
        first, second = read_convolution(first_node), read_convolution(node)
        if first_node is None or first is None or second is None or not _is_depthwise(first):
            return None
        pad = producer(first_node.inputs[0], "Pad")
        resize = producer(pad.inputs[0] if pad is not None else first_node.inputs[0], "Resize")
        if resize is None or second.weight.shape[2:] != (1, 1):
            return None
        layer = Layer.of(KIND, (*second.weight.shape[:2], *first.weight.shape[2:]), spatial(resize.inputs[0]))
        if self.context.choose(layer) == PLAIN:
            return None
        if not second.is_basic or any(second.pads):
            raise Declined("the 1x1 convolution after it is grouped, strided or padded")
        if only_use(first_node.outputs[0]) is None:
            raise Declined("the depthwise convolution has other readers")
        return Match(first, second, first_node)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        pointwise = match.second.weight[:, :, 0, 0]
        weight = np.einsum("oc,cyx->ocyx", pointwise, match.first.weight[:, 0])
        bias = match.second.bias
        if match.first.bias is not None:
            bias = (0 if bias is None else bias) + pointwise @ match.first.bias
        constants = weight_and_bias(op, node, weight, bias, "dense")
        attributes = {**match.node.attributes, "group": 1}
        merged = op.Conv(match.node.inputs[0], *constants, _name=node.name, **attributes)
        return merged, "dense form, nothing written between depthwise and 1x1 convolution"


def _is_depthwise(conv: Convolution) -> bool:
    return conv.group > 1 and conv.weight.shape[:2] == (conv.group, 1)
