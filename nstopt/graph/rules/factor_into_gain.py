"""Multiply a constant factor per channel into the computed gain of that channel.

    x ─ Mul(k) ─ Mul(g)   ⇒   x ─ Mul(g * k)        k: constant [1, C, 1, 1]; g: computed [N, C, 1, 1]

A norm's gain thus takes over the factors of the convolution before it (see one_weight_scale.py), and the full-size
tensor is multiplied once.
"""

from __future__ import annotations

from typing import NamedTuple

from onnxscript import ir

from nstopt.graph.reading import channel_factor, producer, spatial
from nstopt.graph.rule import Rule, Tape


class Match(NamedTuple):
    """x, k and g of the module's docstring."""

    x: ir.Value | None
    factor: ir.Value | None
    gain: ir.Value | None


class FactorIntoGain(Rule):
    anchors = ("Mul",)

    def match(self, node: ir.Node) -> Match | None:
        for place in (0, 1):
            scaled, gain = producer(node.inputs[place], "Mul"), node.inputs[1 - place]
            if scaled is None or spatial(gain) != (1, 1) or spatial(scaled.inputs[0]) == (1, 1):
                continue
            if channel_factor(scaled.inputs[1]) is not None:
                return Match(scaled.inputs[0], scaled.inputs[1], gain)
        return None

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        return op.Mul(match.x, op.Mul(match.gain, match.factor), _name=node.name), "two factors per channel multiplied"
