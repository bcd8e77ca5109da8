"""Multiply the input of a mean square by a factor per channel of 1.

    x ─ ReduceL2   ⇒   x ─ Mul(1 for each channel) ─ ReduceL2

For compilers that write the squares and read them again, such as one of NVIDIA's: with the factor, it makes one kernel
that reads x. docs/gpu.md has the gain.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import channel_factor, producer
from nstopt.graph.rule import Rule, Tape, initializer


class SquareByChannel(Rule):
    anchors = ("ReduceL2",)

    def match(self, node: ir.Node) -> int | None:
        """Return the number of channels."""
        x = node.inputs[0]
        channels = x.shape[1] if x is not None and x.shape is not None and len(x.shape) == 4 else None
        scaled = producer(x, "Mul")
        has_factor = scaled is not None and channel_factor(scaled.inputs[1]) is not None
        return channels if isinstance(channels, int) and not has_factor else None

    def replace(self, op: Tape, node: ir.Node, match: int) -> tuple[ir.Value, str]:
        ones = initializer(op, node, np.ones((1, match, 1, 1), np.float32), "ones")
        norm = op.ReduceL2(op.Mul(node.inputs[0], ones), _name=node.name, **node.attributes)
        return norm, "a factor of 1 per channel before it"
