"""Quantize FP16 tensors as they are, and restore them to FP16, by scales in FP16. Needs opset 19.

    h ─ Cast(FP32) ─ Q(s) ─ DQ(s) ─ Cast(FP16) ─ Conv   ⇒   h ─ Q(t) ─ DQ(t) ─ Conv

t: s, rounded to FP16. The integers stand for values that are larger or smaller by up to 1/2048, so the result is as
close to the FP32 graph's, but not equal. Where h is computed in FP32, as behind an offset, Q reads FP32 and DQ gives
FP16.

For compilers that look for an INT8 convolution right behind DequantizeLinear.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnx import TensorProto
from onnxscript import ir

from nstopt.graph.reading import constant, producer
from nstopt.graph.rule import Array, Declined, Rule, Tape, initializer

HALF = np.finfo(np.float16)


class Match(NamedTuple):
    quantize: ir.Node
    dequantize: ir.Node
    scale: Array


class HalfScales(Rule):
    anchors = ("Cast",)

    def match(self, node: ir.Node) -> Match | None:
        dequantize = producer(node.inputs[0], "DequantizeLinear")
        quantize = producer(dequantize.inputs[0], "QuantizeLinear") if dequantize is not None else None
        if dequantize is None or quantize is None or node.attributes.get_int("to", 0) != TensorProto.FLOAT16:
            return None
        scale = constant(dequantize.inputs[1])
        if scale is None or scale.dtype != np.float32:
            return None
        if scale.min() < HALF.smallest_normal or scale.max() > HALF.max:
            raise Declined("its scale is beyond FP16")
        return Match(quantize, dequantize, scale.astype(np.float16))

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        quantize, dequantize, half = match
        source, read = _half(op, quantize.inputs[0]), initializer(op, dequantize, half, "half_scale")
        if source is None:
            source, read = quantize.inputs[0], initializer(op, quantize, half.astype(np.float32), "scale")
        written = initializer(op, dequantize, half, "scale")
        integers = op.QuantizeLinear(source, read, quantize.inputs[2], **quantize.attributes)
        return op.DequantizeLinear(integers, written, dequantize.inputs[2], **dequantize.attributes), "scales in FP16"


def _half(op: Tape, value: ir.Value | None) -> ir.Value | None:
    """Return an FP16 value equal to `value`, an FP32 one that was cast, and padded by values of its own, or is a
    constant; None if it is neither."""
    if constant(value) is not None:
        return op.Cast(value, to=TensorProto.FLOAT16)  # of integers times a power of two
    if (cast := producer(value, "Cast")) is not None and cast.inputs[0] is not None:
        return cast.inputs[0] if cast.inputs[0].dtype == ir.DataType.FLOAT16 else None
    pad = producer(value, "Pad")
    if pad is None or pad.attributes.get_string("mode", "constant") == "constant":
        return None
    inner = _half(op, pad.inputs[0])
    return None if inner is None else op.Pad(inner, *pad.inputs[1:], **pad.attributes)
