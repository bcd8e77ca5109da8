"""Write an instance norm as two means and one multiply-add.

    x ─ InstanceNormalization   ⇒   m = mean(x);  g = scale / sqrt(mean((x - m)²) + epsilon);  x * g + (shift - m * g)

    h ─ Cast(FP32) [─ Mul(k)] ─ InstanceNormalization ─ Cast(FP16)
        ⇒   m = mean(Cast(h)) * k;  g as above, with Cast(-h) * k + m for x - m, in FP32;
            h * (k * g) + (shift - m * g) in FP16

For runtimes whose own norm depends on more than the runtime: TensorRT 8.5 has it in a plugin that needs cuDNN. The rule
is not in PASSES, since calibration looks for the norms. A backend applies it to the graph that it builds.

The form is the one for which a compiler of NVIDIA's moves the fewest bytes (figures in docs/gpu.md):

- The multiply-add reads x, not x - m, which would be written and read once more. It reads FP16 tensors as they are.
- Each mean casts the FP16 tensor itself. The compiler would merge two casts of h, and write and read their FP32 result.
  The second cast is therefore of -h, which has the same squares.
- Squares are taken of a product with a factor per channel, 1 where there is no k. Without the factor, the compiler
  writes them in another layout.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Norm, channel_factor, producer, read_norm
from nstopt.graph.rule import Array, Rule, Tape, initializer


class NativeNorm(Rule):
    anchors = ("InstanceNormalization",)

    def match(self, node: ir.Node) -> Norm | None:
        return read_norm(node)

    def replace(self, op: Tape, node: ir.Node, match: Norm) -> tuple[ir.Value, str]:
        x = node.inputs[0]
        half = _half(x, match.scale.size)
        if half is None:
            mean = _mean(op, x)
            gain, offset = _gain_and_offset(op, node, match, mean, op.Sub(x, mean))
            return op.Add(op.Mul(x, gain), offset, _name=node.name), "two means and a multiply-add"
        factor = initializer(op, node, half.factor, "factor")
        mean = op.Mul(_mean(op, half.single), factor)
        centered = op.Add(op.Mul(op.Cast(op.Neg(half.value), to=ir.DataType.FLOAT), factor), mean)
        gain, offset = _gain_and_offset(op, node, match, mean, centered)
        gain, offset = (op.Cast(value, to=ir.DataType.FLOAT16) for value in (op.Mul(gain, factor), offset))
        normed = op.Add(op.Mul(half.value, gain), offset, _name=node.name)
        return op.Cast(normed, to=ir.DataType.FLOAT), "two means in FP32 and a multiply-add in FP16"


class _Half(NamedTuple):
    """An FP16 tensor, its FP32 copy, and the factor [1, C, 1, 1] that the copy is multiplied by."""

    value: ir.Value
    single: ir.Value
    factor: Array


def _half(x: ir.Value | None, channels: int) -> _Half | None:
    """Return the FP16 tensor that `x` is the FP32 copy of, times a factor or not; None if there is none."""
    scaled = producer(x, "Mul")
    factor = channel_factor(scaled.inputs[1]) if scaled is not None else None
    single = x if scaled is None or factor is None else scaled.inputs[0]
    cast = producer(single, "Cast")
    half = cast.inputs[0] if cast is not None else None
    if single is None or half is None or half.dtype != ir.DataType.FLOAT16:
        return None
    return _Half(half, single, np.ones((1, channels, 1, 1), np.float32) if factor is None else factor)


def _mean(op: Tape, x: ir.Value | None) -> ir.Value:
    return op.ReduceMean(x, axes=[2, 3], keepdims=1)


def _gain_and_offset(
    op: Tape, node: ir.Node, norm: Norm, mean: ir.Value, centered: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Add the factor that the norm multiplies each channel by, and the term that it then adds, both [N, C, 1, 1]."""
    scale = initializer(op, node, norm.scale.reshape(1, -1, 1, 1), "scale")
    shift = initializer(op, node, norm.shift.reshape(1, -1, 1, 1), "shift")
    epsilon = initializer(op, node, np.float32(norm.epsilon), "epsilon")
    variance = _mean(op, op.Mul(centered, centered))
    gain = op.Div(scale, op.Sqrt(op.Add(variance, epsilon)))
    return gain, op.Sub(shift, op.Mul(mean, gain))
