"""Any instance norm, written as two means and one multiply-add.

    x ─ InstanceNormalization   ⇒   m = mean(x);  f = scale / sqrt(mean((x - m)²) + eps);  x * f + (shift - m * f)

    h ─ Cast(FP32) [─ Mul(k)] ─ InstanceNormalization ─ Cast(FP16)
        ⇒   m = mean(Cast(h)) * k;  f as above, with c = Cast(-h) * k + m for x - m, in FP32;
            h * (k * f) + (shift - m * f) in FP16

For runtimes whose own norm needs more than the runtime: TensorRT 8 has it in a plugin that needs cuDNN. Not one of the
passes, since calibration looks for the norms: a backend applies it to the graph that it is given to build.

The form is the one that a compiler of NVIDIA's moves least for (figures in docs/gpu.md):

- The multiply-add reads x and not x - m, which would be written and read once more; and FP16 pictures as they are.
- Each mean casts an FP16 picture for itself. Two casts of h would become one, whose FP32 picture is written and read:
  so the second one is of -h, which has the same squares.
- Squares are taken behind a factor per channel, 1 where there is no k: without one, they are written in another layout.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Array, Norm, Rule, Tape, channel_factor, initializer, producer, read_norm


class NativeNorm(Rule):
    anchors = ("InstanceNormalization",)

    def plan(self, node: ir.Node) -> Norm | None:
        return read_norm(node)

    def apply(self, op: Tape, node: ir.Node, plan: Norm) -> tuple[ir.Value, str]:
        x = node.inputs[0]
        half = _half(x, plan.scale.size)
        if half is None:
            mean = _mean(op, x)
            gain, offset = _gain(op, node, plan, mean, op.Sub(x, mean))
            return op.Add(op.Mul(x, gain), offset, _name=node.name), "two means and a multiply-add"
        factor = initializer(op, half.factor, f"{node.name}.factor")
        mean = op.Mul(_mean(op, half.whole), factor)
        centered = op.Add(op.Mul(op.Cast(op.Neg(half.value), to=ir.DataType.FLOAT), factor), mean)
        gain, offset = _gain(op, node, plan, mean, centered)
        gain, offset = (op.Cast(value, to=ir.DataType.FLOAT16) for value in (op.Mul(gain, factor), offset))
        normed = op.Add(op.Mul(half.value, gain), offset, _name=node.name)
        return op.Cast(normed, to=ir.DataType.FLOAT), "two means in FP32 and a multiply-add in FP16"


class _Half(NamedTuple):
    """An FP16 picture, its copy in FP32, and what each channel of that is multiplied by, [1, C, 1, 1]."""

    value: ir.Value
    whole: ir.Value
    factor: Array


def _half(x: ir.Value | None, channels: int) -> _Half | None:
    """The FP16 picture that `x` is made of, if it is one in FP32, times a factor or not."""
    scaled = producer(x, "Mul")
    factor = channel_factor(scaled.inputs[1]) if scaled is not None else None
    whole = x if scaled is None or factor is None else scaled.inputs[0]
    cast = producer(whole, "Cast")
    half = cast.inputs[0] if cast is not None else None
    if whole is None or half is None or half.dtype != ir.DataType.FLOAT16:
        return None
    return _Half(half, whole, np.ones((1, channels, 1, 1), np.float32) if factor is None else factor)


def _mean(op: Tape, x: ir.Value | None) -> ir.Value:
    return op.ReduceMean(x, axes=[2, 3], keepdims=1)


def _gain(op: Tape, node: ir.Node, norm: Norm, mean: ir.Value, centered: ir.Value) -> tuple[ir.Value, ir.Value]:
    """What the norm multiplies a channel by, and what it then adds."""
    scale, shift, eps = (
        initializer(op, np.asarray(array, np.float32), f"{node.name}.{name}")
        for array, name in (
            (norm.scale.reshape(1, -1, 1, 1), "scale"),
            (norm.shift.reshape(1, -1, 1, 1), "shift"),
            (norm.epsilon, "epsilon"),
        )
    )
    variance = _mean(op, op.Mul(centered, centered))
    gain = op.Div(scale, op.Sqrt(op.Add(variance, eps)))
    return gain, op.Sub(shift, op.Mul(mean, gain))
