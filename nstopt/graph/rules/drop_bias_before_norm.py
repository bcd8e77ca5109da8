"""An instance norm subtracts the mean, so a constant per channel before it does nothing.

Conv(w, b) ─ InstanceNormalization   ⇒   Conv(w) ─ InstanceNormalization
"""

from __future__ import annotations

from typing import Any

from onnxscript import ir

from nstopt.graph.nodes import CONVOLUTIONS
from nstopt.graph.rule import Declined, Rule, Tape, only_use, producer


class DropBiasBeforeNorm(Rule):
    anchors = ("InstanceNormalization",)

    def plan(self, node: ir.Node) -> Any:
        convolution = producer(node.inputs[0], *CONVOLUTIONS)
        if convolution is None or len(convolution.inputs) < 3 or convolution.inputs[2] is None:
            return None
        if only_use(convolution.outputs[0]) is None:
            raise Declined("its output is read by more than the norm")
        return convolution

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        bare = op.op(plan.op_type, *plan.inputs[:2], _name=plan.name, **plan.attributes)
        return op.InstanceNormalization(bare, *node.inputs[1:], _name=node.name, **node.attributes), "bias removed"
