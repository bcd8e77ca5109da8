"""Give the INT8 weights of a convolution one scale, and multiply each output channel by its scale relative to that one.

    x ─ Conv(DQ(w, s), b)   ⇒   x ─ Conv(DQ(w, t), h) ─ Mul(s / t) [─ Add(b - h * s / t)]

s: one scale per output channel. t: the largest power of two not above the largest of them. No output channel becomes
larger than the largest original one, and integers times t are exact in FP16. h: b * t / s, rounded to FP16. The rest of
the bias is added only where no norm follows. Zero points of quantized inputs make large biases, and beside a large bias
FP16 has few digits left for the products.

For compilers that write the output of an INT8 convolution in FP16 if its weights have one scale, and in FP32 if they
have several. A compiler of NVIDIA's does so (docs/gpu.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import constant, producer
from nstopt.graph.rule import Array, Declined, Rule, Tape, initializer

# A quarter of FP16's range. A larger bias leaves too little of the range to the products.
MAX_BIAS = 16384.0
# The smallest normal number of FP16.
MIN_SCALE = 2.0**-14
# Operators that subtract a constant, or whose input is large beside it.
NORMS = frozenset({"InstanceNormalization", "ReduceMean", "ReduceL2"})


class Match(NamedTuple):
    """`factors` [C] multiply the output channels. `bias` [C] is the convolution's, `rest` [C] is added afterwards."""

    integers: ir.Value
    scale: float
    factors: Array
    bias: Array | None = None
    rest: Array | None = None


class OneWeightScale(Rule):
    anchors = ("Conv", "ConvTranspose")

    def match(self, node: ir.Node) -> Match | None:
        pair = producer(node.inputs[1], "DequantizeLinear")
        weight, scales = (constant(pair.inputs[0]), constant(pair.inputs[1])) if pair is not None else (None, None)
        if pair is None or pair.inputs[0] is None or weight is None or scales is None or scales.size == 1:
            return None
        axis = 0 if node.op_type == "Conv" else 1
        is_used = weight.any(axis=tuple(i for i in range(weight.ndim) if i != axis))
        if not is_used.any():
            return None
        scale = max(float(2 ** np.floor(np.log2(scales[is_used].max()))), MIN_SCALE)
        # The channels of a grouped ConvTranspose share the scales of axis 1.
        repeats = node.attributes.get_int("group", 1) if axis == 1 else 1
        factors = np.tile(np.where(is_used, scales / scale, 1), repeats)
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is None:
            return Match(pair.inputs[0], scale, factors)
        if np.abs(bias / factors).max() > MAX_BIAS:
            raise Declined("the bias of a channel with small weights would be too large")
        half = (bias / factors).astype(np.float16).astype(np.float64)
        is_normed = NORMS & {use.node.op_type for use in node.outputs[0].uses()}
        return Match(pair.inputs[0], scale, factors, half, None if is_normed else bias - half * factors)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        def column(values: Array, suffix: str) -> ir.Value:
            return initializer(op, node, values.astype(np.float32).reshape(1, -1, 1, 1), suffix)

        scale = initializer(op, node, np.float32(match.scale), "scale")
        weight = op.DequantizeLinear(match.integers, scale, initializer(op, node, np.int8(0), "zero_point"))
        bias = [] if match.bias is None else [initializer(op, node, match.bias.astype(np.float32), "bias")]
        out = op.op(node.op_type, node.inputs[0], weight, *bias, _name=node.name, **node.attributes)
        out = op.Mul(out, column(match.factors, "factors"))
        if match.rest is not None:
            out = op.Add(out, column(match.rest, "rest_of_bias"))
        return out, "one scale for all weights"
