"""Read the whole shape of a tensor, and cut it.

    x ─ Shape(start, end)   ⇒   x ─ Shape ─ Slice(start, end)

For parsers that do not know the attributes, which came with opset 15: those of TensorRT 8 return the whole shape
without a word, and paddings that are computed from it then fail.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Rule, Tape, initializer

ALL = np.iinfo(np.int64).max


class WholeShape(Rule):
    anchors = ("Shape",)

    def match(self, node: ir.Node) -> tuple[int, int] | None:
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", ALL)
        return (start, end) if (start, end) != (0, ALL) else None

    def replace(self, op: Tape, node: ir.Node, match: tuple[int, int]) -> tuple[ir.Value, str]:
        start, end = match
        values = {"start": start, "end": end, "axis": 0}
        cut = (initializer(op, node, np.array([value], np.int64), name) for name, value in values.items())
        return op.Slice(op.Shape(node.inputs[0]), *cut, _name=node.name), "the whole shape, and a cut"
