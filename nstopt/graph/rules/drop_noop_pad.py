"""Remove a Pad that adds nothing.

x ─ Pad(0, 0, 0, 0) ─ y   ⇒   x ─ y

An export for any size pads to a multiple of the net's stride. At a size that is such a multiple, the padding is empty.
"""

from __future__ import annotations

from onnxscript import ir

from nstopt.graph.reading import constant
from nstopt.graph.rule import Rule, Tape


class DropNoopPad(Rule):
    anchors = ("Pad",)

    def match(self, node: ir.Node) -> ir.Value | None:
        amounts = constant(node.inputs[1])
        return node.inputs[0] if amounts is not None and not amounts.any() else None

    def replace(self, op: Tape, node: ir.Node, match: ir.Value) -> tuple[ir.Value, str]:
        return op.Identity(match), "removed"
