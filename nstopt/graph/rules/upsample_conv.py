"""Merge a doubling by repeated pixels into the 3x3 convolution after it.

    x ─ Resize(nearest x2) ─ Pad(1) ─ Conv 3x3, C → D

    ⇒ transposed:  x ─ Pad(1) ─ ConvTranspose 4x4 stride 2, C → D
      phase:       x ─ Pad(1) ─ Conv 2x2, C → 4D ─ DepthToSpace(2) ─ Slice(cut one pixel all around)

Both multiply 2.25 times less often. Of the three rows that a row of the result reads, two are the same row of x, so
their weights are added. A reflection by 1 on the doubled grid repeats the pixel at its edge, as an edge padding by 1 of
x does. Zeros stay zeros. Both forms are therefore exact at the border too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, Padding, producer, read_convolution, read_padding, repeats, spatial
from nstopt.graph.rule import PLAIN, Declined, Layer, Rule, Tape, initializer, phase_conv, weight_and_bias

KIND = "upsample-conv"
# Row t of the 4x4 kernel is the sum of these rows of the 3x3 kernel.
TRANSPOSED = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
# Rows of the 2x2 kernels of phase 0 (the lower pixel of the block before) and phase 1 (the upper pixel of this one).
PHASES = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)


class Match(NamedTuple):
    """`source` is the tensor before the doubling. It has to be padded by 1 in `mode`."""

    source: ir.Value
    mode: str
    conv: Convolution
    form: str


class UpsampleConv(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        pad = producer(node.inputs[0], "Pad")
        resize = producer(pad.inputs[0] if pad is not None else node.inputs[0], "Resize")
        if resize is None or resize.inputs[0] is None:
            return None
        conv, padding = read_convolution(node), read_padding(pad)
        if conv is None or conv.weight.shape[2:] != (3, 3) or not conv.is_basic:
            raise Declined("the convolution after the upsampling is not 3x3, or grouped, strided or dilated")
        if repeats(resize) != (2, 2):
            raise Declined("the upsampling is not a doubling by repeated pixels")
        mode = _edge_mode(conv, padding)
        if mode is None or (pad is not None and padding is None):
            raise Declined("the padding between upsampling and convolution is not by 1 all around")
        form = self.context.choose(Layer.of(KIND, conv.weight.shape, spatial(resize.inputs[0])))
        return None if form == PLAIN else Match(resize.inputs[0], mode, conv, form)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        build = _transposed_form if match.form == "transposed" else _phase_form
        return build(op, node, match), f"{match.form} form, 2.25x fewer multiplications"


def _edge_mode(conv: Convolution, padding: Padding | None) -> str | None:
    """Return the mode in which the tensor before the doubling has to be padded by 1; None if no mode is equal."""
    mode, pads = (padding.mode, padding.pads) if padding is not None else ("constant", (0, 0, 0, 0))
    if mode in ("reflect", "edge") and pads == (1, 1, 1, 1) and not any(conv.pads):
        return "edge"
    total = tuple(a + b for a, b in zip(pads, conv.pads, strict=True))
    return "constant" if mode == "constant" and total == (1, 1, 1, 1) else None


def _transposed_form(op: Tape, node: ir.Node, match: Match) -> ir.Value:
    weight = np.einsum("ty,ux,oiyx->iotu", TRANSPOSED, TRANSPOSED, match.conv.weight)
    constants = weight_and_bias(op, node, weight, match.conv.bias, "transposed")
    source, pads = match.source, [1, 1, 1, 1]
    if match.mode == "edge":
        source, pads = _edge_pad(op, node, match.source), [3, 3, 3, 3]
    return op.ConvTranspose(source, *constants, strides=[2, 2], pads=pads, _name=node.name)


def _phase_form(op: Tape, node: ir.Node, match: Match) -> ir.Value:
    """Position r of the convolution reads rows r - 1 and r of x, and computes rows 2r - 1 and 2r of the result."""
    weight = np.einsum("aty,bux,oiyx->oabitu", PHASES, PHASES, match.conv.weight)
    source, pads = match.source, [1, 1, 1, 1]
    if match.mode == "edge":
        source, pads = _edge_pad(op, node, match.source), [0, 0, 0, 0]
    doubled = phase_conv(op, node, source, weight, match.conv.bias, pads=pads)
    begin, end = initializer(op, node, [1, 1], "begin"), initializer(op, node, [-1, -1], "end")
    return op.Slice(doubled, begin, end, initializer(op, node, [2, 3], "axes"), _name=f"{node.name}.cut")


def _edge_pad(op: Tape, node: ir.Node, source: ir.Value) -> ir.Value:
    amounts = initializer(op, node, [0, 0, 1, 1, 0, 0, 1, 1], "edge")
    return op.Pad(source, amounts, mode="edge", _name=f"{node.name}.pad")
