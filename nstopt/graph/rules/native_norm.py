"""Any instance norm, written as two means and one multiply-add.

    x ─ InstanceNormalization   ⇒   d = x - mean(x);  d * (scale / sqrt(mean(d²) + eps)) + shift

For runtimes whose own norm needs more than the runtime: TensorRT 8 has it in a plugin that needs cuDNN. Not one of the
passes, since calibration looks for the norms: a backend applies it to the graph that it is given to build.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Declined, Rule, Tape, constant
from nstopt.graph.rules.few_channel_norm import normalise


class NativeNorm(Rule):
    anchors = ("InstanceNormalization",)

    def plan(self, node: ir.Node) -> Any:
        scale, shift = constant(node.inputs[1]), constant(node.inputs[2])
        x = node.inputs[0]
        if scale is None or shift is None:
            raise Declined("its scale or shift is computed")
        if scale.dtype != np.float32 or x is None or x.shape is None or len(x.shape) != 4:
            raise Declined("it is not of pictures in float32")
        return scale, shift

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        scale, shift = plan
        epsilon = node.attributes.get("epsilon")
        source = node.inputs[0]
        assert source is not None
        eps = epsilon.as_float() if epsilon else 1e-5
        return normalise(op, node, source, scale, shift, eps, 1), "two means and a multiply-add"
