"""Zero padding is the convolution's own:  x ─ Pad(0, p) ─ Conv(pads q)   ⇒   x ─ Conv(pads p + q)"""

from __future__ import annotations

from typing import Any

from onnxscript import ir

from nstopt.graph.rule import Declined, Rule, Tape, producer, read_convolution, read_padding


class PadIntoConv(Rule):
    anchors = ("Conv",)

    def plan(self, node: ir.Node) -> Any:
        pad = producer(node.inputs[0], "Pad")
        if pad is None:
            return None
        padding, convolution = read_padding(pad), read_convolution(node)
        if padding is None or convolution is None:
            raise Declined("the padding's amounts are computed, or it is not of height and width")
        if padding.mode != "constant":
            raise Declined(f"the padding is {padding.mode}, and a convolution pads with zeros")
        return padding.source, [a + b for a, b in zip(padding.pads, convolution.pads, strict=True)]

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        source, pads = plan
        kept = {name: value for name, value in node.attributes.items() if name not in ("pads", "auto_pad")}
        out = op.Conv(source, *node.inputs[1:], pads=pads, _name=node.name, **kept)
        return out, f"padding {pads} moved into the convolution"
