"""Take the quantizers from a convolution, so that it multiplies floats.

    x ─ Q ─ DQ ─ Conv(Q ─ DQ(w))   ⇒   x ─ Conv(w)

For kinds of layers that a compiler cannot compute in INT8. The weights keep the values that they were rounded to. The
input keeps its quantizers where something else reads them too: the rest that `int8x2` adds is what they drop.
"""

from __future__ import annotations

from typing import NamedTuple

from onnxscript import ir

from nstopt.graph.reading import producer
from nstopt.graph.rule import Rule, Tape


class Pair(NamedTuple):
    """A pair of quantizers on the way to a convolution, and the cast of what it restores if there is one."""

    source: ir.Value | None
    cast: ir.Node | None
    is_shared: bool

    def unquantized(self, op: Tape) -> ir.Value | None:
        """Return the source in the type that the convolution reads."""
        return self.source if self.cast is None else op.Cast(self.source, **self.cast.attributes)


def _pair(value: ir.Value | None) -> Pair | None:
    cast = producer(value, "Cast")
    dequantize = producer(cast.inputs[0] if cast is not None else value, "DequantizeLinear")
    quantize = producer(dequantize.inputs[0], "QuantizeLinear") if dequantize is not None else None
    if dequantize is None or quantize is None or value is None:
        return None
    return Pair(quantize.inputs[0], cast, _is_read_elsewhere(quantize, [value, dequantize.outputs[0]]))


def _is_read_elsewhere(quantize: ir.Node, restored: list[ir.Value]) -> bool:
    """Return True if something else than one convolution reads the quantized tensor, or the same one before a Pad."""
    pad = producer(quantize.inputs[0], "Pad")
    source = pad.inputs[0] if pad is not None else quantize.inputs[0]
    others = [use.node for use in source.uses()] if source is not None else []
    is_repeated = any(node.op_type == "QuantizeLinear" and node is not quantize for node in others)
    return is_repeated or any(len(value.uses()) > 1 for value in (*quantize.outputs, *restored))


class _FloatConvolution(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> tuple[Pair, Pair] | None:
        """Return the pairs of the input and of the weight."""
        read, weight = _pair(node.inputs[0]), _pair(node.inputs[1])
        return (read, weight) if read is not None and weight is not None and self.is_meant(node, read) else None

    def is_meant(self, node: ir.Node, read: Pair) -> bool:
        """Return True if the convolution is of the rule's kind."""
        raise NotImplementedError

    def replace(self, op: Tape, node: ir.Node, match: tuple[Pair, Pair]) -> tuple[ir.Value, str]:
        read, weight = match
        source = node.inputs[0] if read.is_shared else read.unquantized(op)
        inputs = [source, weight.unquantized(op), *node.inputs[2:]]
        return op.Conv(*inputs, _name=node.name, **node.attributes), "without quantizers"


class FloatGrouped(_FloatConvolution):
    """Convolutions in groups, depthwise ones among them."""

    def is_meant(self, node: ir.Node, read: Pair) -> bool:
        return node.attributes.get_int("group", 1) > 1


class FloatReflected(_FloatConvolution):
    """Convolutions that read a padding by values of the picture."""

    def is_meant(self, node: ir.Node, read: Pair) -> bool:
        pad = producer(read.source, "Pad")
        return pad is not None and pad.attributes.get_string("mode", "constant") != "constant"
