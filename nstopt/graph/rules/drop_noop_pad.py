"""Padding by nothing:  x ─ Pad(0, 0, 0, 0) ─ y   ⇒   x ─ y

An export for any size pads to the net's multiple; at a size that is one, nothing is left of it.
"""

from __future__ import annotations

from typing import Any

from onnxscript import ir

from nstopt.graph.rule import Rule, Tape, constant


class DropNoopPad(Rule):
    anchors = ("Pad",)

    def plan(self, node: ir.Node) -> Any:
        amounts = constant(node.inputs[1])
        return node.inputs[0] if amounts is not None and not amounts.any() else None

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        return op.Identity(plan), "removed"
