"""Move an upsampling by repeated pixels behind the operators that treat all copies of a pixel alike.

    Resize(nearest, whole scale) ─ Conv 1x1 ─ InstanceNormalization ─ Clip
        ⇒   Conv 1x1 ─ InstanceNormalization ─ Clip ─ Resize

These then work on the small tensor, a quarter of the pixels for a doubling. Repeating every pixel equally often changes
neither mean nor variance, so norms are exact too. Where the upsampled tensor has other readers, an upsampling remains
for them; two upsamplings and a small operator still move less memory than one upsampling and a large operator.
"""

from __future__ import annotations

from typing import NamedTuple

from onnxscript import ir

from nstopt.graph.reading import producer, read_convolution, repeats
from nstopt.graph.rule import Declined, Rule, Tape, repeat_pixels

UNARY = ("Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Tanh")
BINARY = ("Add", "Div", "Max", "Min", "Mul", "PRelu", "Sub")
PLACED = ("Conv", "InstanceNormalization", *UNARY)  # these read pixels from their first input only


class Match(NamedTuple):
    """`inputs` are the operator's, with the small tensor in place of the upsampled one; `factors` are how many times
    each pixel is then repeated in height and width."""

    inputs: list[ir.Value | None]
    factors: tuple[int, int]


class SinkUpsample(Rule):
    anchors = (*PLACED, *BINARY)

    def match(self, node: ir.Node) -> Match | None:
        pixels = node.inputs[:1] if node.op_type in PLACED else node.inputs
        resizes = [producer(value, "Resize") for value in pixels]
        if not any(resizes):
            return None
        if node.op_type == "Conv" and not _is_pointwise(node):
            return None
        factors = {repeats(resize) for resize in resizes if resize is not None}
        if len(factors) > 1 or None in factors:
            raise Declined("the upsampling does not repeat each pixel equally often")
        if not all(resize or _is_alike_everywhere(value) for resize, value in zip(resizes, pixels, strict=True)):
            raise Declined("its other operand is not upsampled alike, and differs between pixels")
        small = [value if resize is None else resize.inputs[0] for resize, value in zip(resizes, pixels, strict=True)]
        return Match([*small, *node.inputs[len(small) :]], factors.pop())  # type: ignore[arg-type]

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        small = op.op(node.op_type, *match.inputs, _name=node.name, **node.attributes)
        return repeat_pixels(op, node, small, match.factors), "moved before the upsampling"


def _is_pointwise(node: ir.Node) -> bool:
    """Return True for a 1x1 convolution that computes each pixel of its result from one pixel, in place."""
    conv = read_convolution(node)
    return conv is not None and conv.weight.shape[2:] == (1, 1) and conv.strides == (1, 1) and not any(conv.pads)


def _is_alike_everywhere(value: ir.Value | None) -> bool:
    """Return True if an operand has one number for all pixels, or one number per channel."""
    shape = None if value is None else value.shape
    return shape is not None and len(shape) <= 4 and all(side == 1 for side in shape[-2:])
