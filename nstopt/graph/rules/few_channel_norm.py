"""Write an instance norm of at most three full-size channels as two means and one multiply-add.

    x ─ InstanceNormalization(3 channels)   ⇒   d = x - mean(x);  d * (scale / sqrt(mean(d²) + epsilon)) + shift

    p ─ DepthToSpace(2) ─ InstanceNormalization   ⇒   the same on the phases p, then DepthToSpace

Vector kernels of norms process sixteen channels at a time. The mean of a channel whose pixels lie in four phases is the
mean of the four phases' means.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Norm, only_use, producer, read_norm, spatial
from nstopt.graph.rule import PLAIN, Layer, Rule, Tape, initializer

KIND = "few-channel-norm"
MAX_CHANNELS = 3


class FewChannelNorm(Rule):
    anchors = ("InstanceNormalization",)

    def match(self, node: ir.Node) -> Norm | None:
        norm = read_norm(node, MAX_CHANNELS)
        if norm is None:
            return None
        form = self.context.choose(Layer.of(KIND, norm.scale.shape, spatial(node.inputs[0])))
        return None if form == PLAIN else norm

    def replace(self, op: Tape, node: ir.Node, match: Norm) -> tuple[ir.Value, str]:
        source = node.inputs[0]
        assert source is not None
        phases = producer(source, "DepthToSpace")
        if phases is None or only_use(source) is None or not _is_interleave(phases):
            return normalize(op, node, source, match, 1), "two means and a multiply-add"
        spread = Norm(np.repeat(match.scale, 4), np.repeat(match.shift, 4), match.epsilon)
        normed = normalize(op, node, phases.inputs[0], spread, 4)
        result = op.DepthToSpace(normed, _name=phases.name, **phases.attributes)
        return result, "on the phases, as means and a multiply-add"


def _is_interleave(node: ir.Node) -> bool:
    return node.attributes.get_int("blocksize") == 2 and node.attributes.get_string("mode") == "CRD"


def normalize(op: Tape, node: ir.Node, x: ir.Value | None, norm: Norm, group: int) -> ir.Value:
    """Add the norm `node` of `x` as means, one multiplication and one addition. Each `group` neighboring channels share
    their statistics."""
    channels = norm.scale.size
    grouped = initializer(op, node, [0, channels // group, group, 1], "grouped")
    spread = initializer(op, node, [1, 1, group, 1], "spread")
    single = initializer(op, node, [0, channels, 1, 1], "single")

    def mean(value: ir.Value | None) -> ir.Value:
        means = op.ReduceMean(value, axes=[2, 3], keepdims=1)
        if group == 1:
            return means
        together = op.ReduceMean(op.Reshape(means, grouped), axes=[2], keepdims=1)
        return op.Reshape(op.Expand(together, spread), single)

    column = (1, channels, 1, 1)
    centered = op.Sub(x, mean(x))
    variance = mean(op.Mul(centered, centered))
    deviation = op.Sqrt(op.Add(variance, initializer(op, node, np.float32(norm.epsilon), "epsilon")))
    gain = op.Div(initializer(op, node, norm.scale.reshape(column), "scale"), deviation)
    shift = initializer(op, node, norm.shift.reshape(column), "shift")
    return op.Add(op.Mul(centered, gain), shift, _name=node.name)
