"""An instance norm of three full-size channels, written as two means and one multiply-add.

    x ─ InstanceNormalization(3 channels)   ⇒   d = x - mean(x);  d * (scale / sqrt(mean(d²) + eps)) + shift

    p ─ DepthToSpace(2) ─ InstanceNormalization   ⇒   the same on the phases p, then DepthToSpace

Vector norm kernels work on sixteen channels at a time. The mean of a channel whose pixels lie in four phases is
the mean of the four phases' means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Array, Layer, Rule, Tape, initializer, only_use, producer, read_norm, spatial

KIND = "few-channel-norm"
MAX_CHANNELS = 3


class FewChannelNorm(Rule):
    anchors = ("InstanceNormalization",)

    def plan(self, node: ir.Node) -> Any:
        norm = read_norm(node, MAX_CHANNELS)
        if norm is None:
            return None
        form = self.context.choose(Layer(KIND, (norm.scale.size, *(spatial(node.inputs[0]) or (0, 0)))))
        return None if form == "plain" else norm

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        scale, shift, eps = plan
        source = node.inputs[0]
        assert source is not None
        phases = producer(source, "DepthToSpace")
        if phases is None or only_use(source) is None or not _is_interleave(phases):
            return normalize(op, node, source, scale, shift, eps, 1), "two means and a multiply-add"
        normed = normalize(op, node, phases.inputs[0], np.repeat(scale, 4), np.repeat(shift, 4), eps, 4)
        return op.DepthToSpace(
            normed, _name=phases.name, **phases.attributes
        ), "on the phases, as means and a multiply-add"


def _is_interleave(node: ir.Node) -> bool:
    mode = node.attributes.get("mode")
    return node.attributes["blocksize"].as_int() == 2 and mode is not None and mode.as_string() == "CRD"


def normalize(
    op: Tape, node: ir.Node, x: ir.Value | None, scale: Array, shift: Array, eps: float, group: int
) -> ir.Value:
    """The norm `node` of `x` in means, one multiply and one add, with statistics over height, width and `group`
    neighboring channels."""

    def known(array: Any, name: str) -> ir.Value:
        return initializer(op, np.asarray(array), f"{node.name}.{name}")

    def mean(value: ir.Value | None) -> ir.Value:
        means = op.ReduceMean(value, axes=[2, 3], keepdims=1)
        if group == 1:
            return means
        together = op.ReduceMean(op.Reshape(means, grouped), axes=[2], keepdims=1)
        return op.Reshape(op.Expand(together, spread), single)

    channels = scale.size
    grouped = known(np.array([0, channels // group, group, 1]), "grouped")
    spread = known(np.array([1, 1, group, 1]), "spread")
    single = known(np.array([0, channels, 1, 1]), "single")
    column = (1, channels, 1, 1)
    centered = op.Sub(x, mean(x))
    deviation = op.Sqrt(op.Add(mean(op.Mul(centered, centered)), known(np.float32(eps), "epsilon")))
    factor = op.Div(known(scale.reshape(column), "scale"), deviation)
    return op.Add(op.Mul(centered, factor), known(shift.reshape(column), "shift"), _name=node.name)
