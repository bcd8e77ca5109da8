"""What only moves values about goes after what changes each value by itself.

    DepthToSpace ─ Tanh ─ Mul(constant) ─ Round ─ Cast   ⇒   Tanh ─ Mul(constant) ─ Round ─ Cast ─ DepthToSpace

Values are then moved as bytes, not as floats, and the arithmetic runs on twelve channels instead of three.
"""

from __future__ import annotations

from typing import Any

from onnxscript import ir

from nstopt.graph.rule import Declined, Rule, Tape, constant, only_use, producer

LAYOUT = ("DepthToSpace", "Slice", "Transpose")
UNARY = ("Tanh", "Round", "Clip", "Cast", "Relu", "Sigmoid")
BINARY = ("Mul", "Add", "Sub", "Div")


class SinkLayout(Rule):
    anchors = (*UNARY, *BINARY)

    def plan(self, node: ir.Node) -> Any:
        layout = producer(node.inputs[0], *LAYOUT)
        if layout is None or only_use(layout.outputs[0]) is None:
            return None
        if node.op_type == "Cast" and node.attributes["to"].as_int() != ir.DataType.UINT8:
            return None
        if node.op_type in BINARY and not self._is_scalar(node.inputs[1], layout.outputs[0]):
            raise Declined("its other operand is not one number for all channels")
        return layout

    def _is_scalar(self, value: ir.Value | None, other: ir.Value) -> bool:
        """Whether `value` is one number, which gives `other` no further dimensions."""
        array = constant(value)
        return array is not None and array.size == 1 and other.shape is not None and array.ndim <= len(other.shape)

    def apply(self, op: Tape, node: ir.Node, plan: ir.Node) -> tuple[ir.Value, str]:
        changed = op.op(node.op_type, plan.inputs[0], *node.inputs[1:], _name=node.name, **node.attributes)
        moved = op.op(plan.op_type, changed, *plan.inputs[1:], _name=plan.name, **plan.attributes)
        return moved, f"moved before {plan.op_type}"
