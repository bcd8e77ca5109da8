"""Compute the mean of squares from the L2 norm, without storing the squares. Filter response norms need this mean.

    x ─ Pow(2) ─ ReduceMean(height, width)   ⇒   n = ReduceL2(x);  n · n · (1 / (height · width))

The result reads x once. The original also writes a full-size tensor of squares and reads it again. Filter response
norm: Singh and Krishnan 2019, arXiv:1911.09737, equation 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import constant, only_use, producer, spatial
from nstopt.graph.rule import Declined, Rule, Tape, initializer


class Match(NamedTuple):
    x: ir.Value
    pixels: int


class MeanSquare(Rule):
    anchors = ("ReduceMean",)

    def match(self, node: ir.Node) -> Match | None:
        square = producer(node.inputs[0], "Pow", "Mul")
        if square is None or square.inputs[0] is None or only_use(square.outputs[0]) is None:
            return None
        exponent = constant(square.inputs[1])
        is_power = square.op_type == "Pow" and exponent is not None and exponent.shape in ((), (1,)) and exponent == 2
        is_product = square.op_type == "Mul" and square.inputs[0] is square.inputs[1]
        if not is_power and not is_product:
            return None
        size = spatial(square.inputs[0])
        if square.inputs[0].dtype != ir.DataType.FLOAT:
            raise Declined("it is not in float32")
        axes, keepdims = node.attributes.get_ints("axes", []), node.attributes.get_int("keepdims", 1)
        if sorted(axis % 4 for axis in axes) != [2, 3] or keepdims == 0:
            raise Declined("it is not over height and width")
        if size is None:
            raise Declined("the number of pixels is not known")
        return Match(square.inputs[0], size[0] * size[1])

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        norm = op.ReduceL2(match.x, axes=[2, 3], keepdims=1)
        share = initializer(op, node, np.float32(1 / match.pixels), "share")
        return op.Mul(op.Mul(norm, norm), share, _name=node.name), "one pass over the tensor"
