"""The INT8 weights of a convolution get one scale; what the channels' own scales differ by is multiplied afterwards.

    x ─ Conv(DQ(w, s), b)   ⇒   x ─ Conv(DQ(w, t), h) ─ Mul(s / t) [─ Add(b - h * s / t)]

s: a scale for each output channel. t: the power of two next to the largest of them, from below, so that no channel's
output becomes larger than those that are there, and whole numbers times t are exact in FP16. h: b * t / s, rounded to
FP16. The rest of it is added where no norm follows; offsets of what is quantized make biases that are large beside what
FP16 then leaves of the picture.

For compilers that write the output of an INT8 convolution in FP16 where its weights have one scale, and in FP32 where
they have several, as one of NVIDIA's does (docs/gpu.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Array, Declined, Rule, Tape, constant, initializer, producer

# A quarter of FP16's range: a bias beyond it leaves too little to the products.
LARGEST_BIAS = 16384.0
# The least power of two that FP16 has in full precision.
SMALLEST_SCALE = 2.0**-14
# They take a constant off, or have it small beside their input.
NORMS = frozenset({"InstanceNormalization", "ReduceMean", "ReduceL2"})


class Plan(NamedTuple):
    """`factors` of the output's channels; `bias` as the convolution has it before them, `rest` as it is added after."""

    integers: ir.Value
    scale: float
    factors: Array
    bias: Array | None = None
    rest: Array | None = None


class OneWeightScale(Rule):
    anchors = ("Conv", "ConvTranspose")

    def plan(self, node: ir.Node) -> Plan | None:
        pair = producer(node.inputs[1], "DequantizeLinear")
        weight, scales = (constant(pair.inputs[0]), constant(pair.inputs[1])) if pair is not None else (None, None)
        if pair is None or pair.inputs[0] is None or weight is None or scales is None or scales.size == 1:
            return None
        axis = 0 if node.op_type == "Conv" else 1
        used = weight.any(axis=tuple(i for i in range(weight.ndim) if i != axis))
        if not used.any():
            return None
        scale = max(float(2 ** np.floor(np.log2(scales[used].max()))), SMALLEST_SCALE)
        group = node.attributes.get("group")
        factors = np.tile(np.where(used, scales / scale, 1), group.as_int() if axis and group else 1)
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is None:
            return Plan(pair.inputs[0], scale, factors)
        if np.abs(bias / factors).max() > LARGEST_BIAS:
            raise Declined("the bias of a channel with small weights would be too large")
        half = (bias / factors).astype(np.float16).astype(np.float64)
        is_normed = NORMS & {use.node.op_type for use in node.outputs[0].uses()}
        return Plan(pair.inputs[0], scale, factors, half, None if is_normed else bias - half * factors)

    def apply(self, op: Tape, node: ir.Node, plan: Plan) -> tuple[ir.Value, str]:
        def known(array: Array, name: str) -> ir.Value:
            return initializer(op, array, f"{node.name}.{name}")

        def column(values: Array, name: str) -> ir.Value:
            return known(values.astype(np.float32).reshape(1, -1, 1, 1), name)

        scale, zero = known(np.array(plan.scale, np.float32), "scale"), known(np.array(0, np.int8), "zero_point")
        weight = op.DequantizeLinear(plan.integers, scale, zero)
        bias = [] if plan.bias is None else [known(plan.bias.astype(np.float32), "bias")]
        out = op.op(node.op_type, node.inputs[0], weight, *bias, _name=node.name, **node.attributes)
        out = op.Mul(out, column(plan.factors, "factors"))
        if plan.rest is not None:
            out = op.Add(out, column(plan.rest, "rest_of_bias"))
        return out, "one scale for all weights"
