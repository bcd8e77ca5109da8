"""Pad a tensor before it is quantized, not after it was restored.

    x ─ QuantizeLinear ─ DequantizeLinear ─ Pad   ⇒   x ─ Pad ─ QuantizeLinear ─ DequantizeLinear

For compilers that read INT8 only from a DequantizeLinear right before the convolution: the parsers of TensorRT 8 import
a Pad as a slice, which stays FP32 and keeps the convolution in FP32. Quantization is element by element, so repeated
and mirrored values come out the same; a constant does if it is on the quantizer's grid.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import constant, producer
from nstopt.graph.rule import Array, Declined, Rule, Tape


class PadBeforeQuantizers(Rule):
    anchors = ("Pad",)

    def match(self, node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
        """Return the quantizers, QuantizeLinear first. Raises Declined if they would change the padded constant."""
        dequantize = producer(node.inputs[0], "DequantizeLinear")
        quantize = producer(dequantize.inputs[0], "QuantizeLinear") if dequantize is not None else None
        if dequantize is None or quantize is None:
            return None
        if node.attributes.get_string("mode", "constant") == "constant" and not _keeps(quantize, _fill(node)):
            raise Declined("its constant is not on the grid of the quantizer before it")
        return quantize, dequantize

    def replace(self, op: Tape, node: ir.Node, match: tuple[ir.Node, ir.Node]) -> tuple[ir.Value, str]:
        quantize, dequantize = match
        padded = op.Pad(quantize.inputs[0], *node.inputs[1:], _name=node.name, **node.attributes)
        integers = op.QuantizeLinear(padded, *quantize.inputs[1:], _name=f"{node.name}.quantize")
        restored = op.DequantizeLinear(integers, *dequantize.inputs[1:], _name=f"{node.name}.dequantize")
        return restored, "before the quantizers"


class ConstantPadBeforeQuantizers(PadBeforeQuantizers):
    """The same for paddings by a constant only."""

    def match(self, node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
        is_constant = node.attributes.get_string("mode", "constant") == "constant"
        return super().match(node) if is_constant else None


def _fill(node: ir.Node) -> Array | None:
    """Return the constant that a Pad fills with; None if it is computed."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros((), np.float32)
    return constant(node.inputs[2])


def _keeps(quantize: ir.Node, value: Array | None) -> bool:
    """Return True if a value on the way through a pair of quantizers with one scale comes out the same."""
    scale, zero = constant(quantize.inputs[1]), constant(quantize.inputs[2])
    if value is None or scale is None or zero is None or scale.size != 1:
        return False
    limits = np.iinfo(zero.dtype)
    integers = np.clip(np.rint(value / scale) + zero.astype(np.float32), limits.min, limits.max)
    return bool(np.all((integers - zero) * scale == value))
