"""Any instance norm, written as two means and one multiply-add.

    x ─ InstanceNormalization   ⇒   m = mean(x);  f = scale / sqrt(mean((x - m)²) + eps);  x * f + (shift - m * f)

    h ─ Cast(FP32) ─ InstanceNormalization ─ Cast(FP16)   ⇒   m, f in FP32 as above, the multiply-add of h in FP16

For runtimes whose own norm needs more than the runtime: TensorRT 8 has it in a plugin that needs cuDNN. Not one of the
passes, since calibration looks for the norms: a backend applies it to the graph that it is given to build.

The multiply-add reads x and not x - m, which would be written and read once more: a compiler of NVIDIA's did so. For
the same reason it takes FP16 pictures as they are. What that is worth: docs/gpu.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Rule, Tape, initialiser, producer, read_norm


class NativeNorm(Rule):
    anchors = ("InstanceNormalization",)

    def plan(self, node: ir.Node) -> Any:
        return read_norm(node)

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        x = node.inputs[0]
        scale, shift, eps = (
            initialiser(op, np.asarray(array, np.float32), f"{node.name}.{name}")
            for array, name in (
                (plan.scale.reshape(1, -1, 1, 1), "scale"),
                (plan.shift.reshape(1, -1, 1, 1), "shift"),
                (plan.epsilon, "epsilon"),
            )
        )
        mean = op.ReduceMean(x, axes=[2, 3], keepdims=1)
        centred = op.Sub(x, mean)
        variance = op.ReduceMean(op.Mul(centred, centred), axes=[2, 3], keepdims=1)
        factor = op.Div(scale, op.Sqrt(op.Add(variance, eps)))
        offset = op.Sub(shift, op.Mul(mean, factor))
        half = _half(x)
        if half is None:
            return op.Add(op.Mul(x, factor), offset, _name=node.name), "two means and a multiply-add"
        factor, offset = (op.Cast(value, to=ir.DataType.FLOAT16) for value in (factor, offset))
        normed = op.Add(op.Mul(half, factor), offset, _name=node.name)
        return op.Cast(normed, to=ir.DataType.FLOAT), "two means in FP32 and a multiply-add in FP16"


def _half(x: ir.Value | None) -> ir.Value | None:
    """The FP16 value that `x` is a copy of in FP32, if it is one."""
    cast = producer(x, "Cast")
    half = cast.inputs[0] if cast is not None else None
    return half if half is not None and half.dtype == ir.DataType.FLOAT16 else None
