"""A mean square is taken behind a factor per channel, of 1.

    x ─ ReduceL2   ⇒   x ─ Mul(1 for each channel) ─ ReduceL2

For compilers that would write the squares and read them again, as one of NVIDIA's does: with the factor it makes one
kernel that reads x. What that is worth: docs/gpu.md.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Rule, Tape, channel_factor, initializer, producer


class SquareByChannel(Rule):
    anchors = ("ReduceL2",)

    def plan(self, node: ir.Node) -> int | None:
        x = node.inputs[0]
        channels = x.shape[1] if x is not None and x.shape is not None and len(x.shape) == 4 else None
        scaled = producer(x, "Mul")
        has_factor = scaled is not None and channel_factor(scaled.inputs[1]) is not None
        return channels if isinstance(channels, int) and not has_factor else None

    def apply(self, op: Tape, node: ir.Node, plan: int) -> tuple[ir.Value, str]:
        ones = initializer(op, np.ones((1, plan, 1, 1), np.float32), f"{node.name}.ones")
        squares = op.ReduceL2(op.Mul(node.inputs[0], ones), _name=node.name, **node.attributes)
        return squares, "behind a factor per channel"
