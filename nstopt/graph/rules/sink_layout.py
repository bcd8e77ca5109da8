"""Move data movement behind pointwise operators.

    DepthToSpace ─ Tanh ─ Mul(constant) ─ Round ─ Cast   ⇒   Tanh ─ Mul(constant) ─ Round ─ Cast ─ DepthToSpace

Bytes are then moved instead of floats, and the arithmetic runs on twelve channels instead of three.
"""

from __future__ import annotations

from onnxscript import ir

from nstopt.graph.reading import constant, only_use, producer
from nstopt.graph.rule import Declined, Rule, Tape

MOVEMENT = ("DepthToSpace", "Slice", "Transpose")
UNARY = ("Tanh", "Round", "Clip", "Cast", "Relu", "Sigmoid")
BINARY = ("Mul", "Add", "Sub", "Div")


class SinkLayout(Rule):
    anchors = (*UNARY, *BINARY)

    def match(self, node: ir.Node) -> ir.Node | None:
        movement = producer(node.inputs[0], *MOVEMENT)
        if movement is None or only_use(movement.outputs[0]) is None:
            return None
        if node.op_type == "Cast" and node.attributes.get_int("to") != ir.DataType.UINT8:
            return None
        if node.op_type in BINARY and not _is_scalar(node.inputs[1], movement.outputs[0]):
            raise Declined("its other operand is not one number for all channels")
        return movement

    def replace(self, op: Tape, node: ir.Node, match: ir.Node) -> tuple[ir.Value, str]:
        changed = op.op(node.op_type, match.inputs[0], *node.inputs[1:], _name=node.name, **node.attributes)
        moved = op.op(match.op_type, changed, *match.inputs[1:], _name=match.name, **match.attributes)
        return moved, f"moved before {match.op_type}"


def _is_scalar(value: ir.Value | None, other: ir.Value) -> bool:
    """Return True if `value` is one constant number that does not add dimensions to `other`."""
    array = constant(value)
    return array is not None and array.size == 1 and other.shape is not None and array.ndim <= len(other.shape)
