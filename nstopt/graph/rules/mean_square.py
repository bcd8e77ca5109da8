"""Filter response norm needs the mean of squares, not the squares.

    x ─ Pow(2) ─ ReduceMean(height, width)   ⇒   n = ReduceL2(x);  n · n · (1 / (height · width))

One pass that reads, instead of one that reads and writes a full-size tensor and one that reads it again. (Singh and
Krishnan 2019, arXiv:1911.09737, equation 1.)
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Declined, Rule, Tape, constant, initializer, ints, only_use, producer, spatial


class MeanSquare(Rule):
    anchors = ("ReduceMean",)

    def plan(self, node: ir.Node) -> tuple[ir.Value, int] | None:
        square = producer(node.inputs[0], "Pow", "Mul")
        if square is None or square.inputs[0] is None or only_use(square.outputs[0]) is None:
            return None
        exponent = constant(square.inputs[1])
        is_square = square.op_type == "Pow" and exponent is not None and exponent.shape in ((), (1,)) and exponent == 2
        if not is_square and not (square.op_type == "Mul" and square.inputs[0] is square.inputs[1]):
            return None
        size = spatial(square.inputs[0])
        if square.inputs[0].dtype != ir.DataType.FLOAT:
            raise Declined("it is not in float32")
        keep = node.attributes.get("keepdims")
        if sorted(axis % 4 for axis in ints(node, "axes", [])) != [2, 3] or (keep and keep.as_int() == 0):
            raise Declined("it is not over height and width")
        if size is None:
            raise Declined("the number of pixels is not known")
        return square.inputs[0], size[0] * size[1]

    def apply(self, op: Tape, node: ir.Node, plan: tuple[ir.Value, int]) -> tuple[ir.Value, str]:
        x, pixels = plan
        norm = op.ReduceL2(x, axes=[2, 3], keepdims=1)
        share = initializer(op, np.array(1 / pixels, np.float32), f"{node.name}.share")
        return op.Mul(op.Mul(norm, norm), share, _name=node.name), "one pass over the picture"
