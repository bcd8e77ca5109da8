"""Two factors of a channel are multiplied before they meet the picture.

    x ─ Mul(k) ─ Mul(f)   ⇒   x ─ Mul(f * k)        k: a constant for each channel; f: a number for each, computed

So the gain of a norm takes over what the channels before it are multiplied by.
"""

from __future__ import annotations

from typing import NamedTuple

from onnxscript import ir

from nstopt.graph.rule import Rule, Tape, channel_factor, producer, spatial


class Plan(NamedTuple):
    x: ir.Value | None
    factor: ir.Value | None
    gain: ir.Value | None


class FactorIntoGain(Rule):
    anchors = ("Mul",)

    def plan(self, node: ir.Node) -> Plan | None:
        for place in (0, 1):
            scaled, gain = producer(node.inputs[place], "Mul"), node.inputs[1 - place]
            if scaled is None or spatial(gain) != (1, 1) or spatial(scaled.inputs[0]) == (1, 1):
                continue
            if channel_factor(scaled.inputs[1]) is not None:
                return Plan(scaled.inputs[0], scaled.inputs[1], gain)
        return None

    def apply(self, op: Tape, node: ir.Node, plan: Plan) -> tuple[ir.Value, str]:
        return op.Mul(plan.x, op.Mul(plan.gain, plan.factor), _name=node.name), "one factor of a channel"
