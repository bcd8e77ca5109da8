"""Fold zero padding into the following Conv.

x ─ Pad(0, p) ─ Conv(pads q)   ⇒   x ─ Conv(pads p + q)
"""

from __future__ import annotations

from typing import NamedTuple

from onnxscript import ir

from nstopt.graph.reading import producer, read_convolution, read_padding
from nstopt.graph.rule import Declined, Rule, Tape


class Match(NamedTuple):
    source: ir.Value
    pads: list[int]


class PadIntoConv(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        pad = producer(node.inputs[0], "Pad")
        if pad is None:
            return None
        padding, conv = read_padding(pad), read_convolution(node)
        if conv is None:
            raise Declined("the convolution's weights are computed, or its padding is implicit")
        if padding is None:
            raise Declined("the padding is computed, negative, not of zeros, or not of height and width")
        if padding.mode != "constant":
            raise Declined(f"the padding is {padding.mode}, and a convolution pads with zeros")
        return Match(padding.source, [a + b for a, b in zip(padding.pads, conv.pads, strict=True)])

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        attributes = {**node.attributes, "pads": match.pads}
        out = op.Conv(match.source, *node.inputs[1:], _name=node.name, **attributes)
        return out, f"padding folded into the convolution, pads {match.pads}"
