"""Merge a doubling by repeated pixels into the 3x3 convolution after it.

    x ─ Resize(nearest x2) ─ Pad(1) ─ Conv 3x3, C → D

    ⇒ transposed:  x ─ Pad(1) ─ ConvTranspose 4x4 stride 2, C → D
      phase:       x ─ Pad(1) ─ Conv 2x2, C → 4D ─ DepthToSpace(2) ─ Slice(cut one pixel all around)
      early-pad:   x ─ Pad(1 at top and left) ─ Resize(nearest x2, rounded up) ─ Conv 3x3, C → D

The first two multiply 2.25 times less often. Of the three rows that a row of the result reads, two are the same row of
x, so their weights are added. A reflection by 1 on the doubled grid repeats the pixel at its edge, as an edge padding
by 1 of x does. Zeros stay zeros. Both forms are therefore exact at the border too.

The third pads a quarter of the pixels, for convolutions whose padding takes longer than their arithmetic: depthwise
ones. Row i of the upsampling is row ceil(i / 2) of the padded x; the first and the last row of x thus come three times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, Padding, producer, read_convolution, read_padding, repeats, spatial
from nstopt.graph.rule import (
    PLAIN,
    Declined,
    Layer,
    Rule,
    Tape,
    initializer,
    phase_conv,
    repeat_pixels,
    weight_and_bias,
)

KIND = "upsample-conv"
GROUPED = "upsample-grouped"
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
        if conv is not None and pad is None and not any(conv.pads):
            return None  # nothing pads, as in what the early-pad form leaves
        if conv is None or conv.weight.shape[2:] != (3, 3) or conv.strides != (1, 1) or conv.is_dilated:
            raise Declined("the convolution after the upsampling is not 3x3, or strided or dilated")
        if repeats(resize) != (2, 2):
            raise Declined("the upsampling is not a doubling by repeated pixels")
        mode = _edge_mode(conv, padding)
        if mode is None or (pad is not None and padding is None):
            raise Declined("the padding between upsampling and convolution is not by 1 all around")
        form = self.context.choose(_layer(conv, resize.inputs[0]))
        if form == "early-pad" and mode != "edge":
            raise Declined("early-pad form is for reflections; the convolution pads zeros itself")
        return None if form == PLAIN else Match(resize.inputs[0], mode, conv, form)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        build = FORMS[match.form]
        gain = "padded before the upsampling" if match.form == "early-pad" else "2.25x fewer multiplications"
        return build(op, node, match), f"{match.form} form, {gain}"


def _layer(conv: Convolution, source: ir.Value) -> Layer:
    """Return the layer that forms are chosen for. A grouped one's shape starts with groups, outputs and inputs of each
    group."""
    if conv.group == 1:
        return Layer.of(KIND, conv.weight.shape, spatial(source))
    return Layer.of(GROUPED, conv.by_group.shape, spatial(source))


def _edge_mode(conv: Convolution, padding: Padding | None) -> str | None:
    """Return the mode in which the tensor before the doubling has to be padded by 1; None if no mode is equal."""
    mode, pads = (padding.mode, padding.pads) if padding is not None else ("constant", (0, 0, 0, 0))
    if mode in ("reflect", "edge") and pads == (1, 1, 1, 1) and not any(conv.pads):
        return "edge"
    total = tuple(a + b for a, b in zip(pads, conv.pads, strict=True))
    return "constant" if mode == "constant" and total == (1, 1, 1, 1) else None


def _transposed_form(op: Tape, node: ir.Node, match: Match) -> ir.Value:
    weight = np.einsum("ty,ux,goiyx->giotu", TRANSPOSED, TRANSPOSED, match.conv.by_group)
    constants = weight_and_bias(op, node, weight.reshape(-1, *weight.shape[2:]), match.conv.bias, "transposed")
    source, pads = match.source, [1, 1, 1, 1]
    if match.mode == "edge":
        source, pads = _edge_pad(op, node, match.source, 1), [3, 3, 3, 3]
    return op.ConvTranspose(source, *constants, strides=[2, 2], pads=pads, group=match.conv.group, _name=node.name)


def _phase_form(op: Tape, node: ir.Node, match: Match) -> ir.Value:
    """Position r of the convolution reads rows r - 1 and r of x, and computes rows 2r - 1 and 2r of the result."""
    weight = np.einsum("aty,bux,oiyx->oabitu", PHASES, PHASES, match.conv.weight)
    source, pads = match.source, [1, 1, 1, 1]
    if match.mode == "edge":
        source, pads = _edge_pad(op, node, match.source, 1), [0, 0, 0, 0]
    doubled = phase_conv(op, node, source, weight, match.conv.bias, pads=pads, group=match.conv.group)
    begin, end = initializer(op, node, [1, 1], "begin"), initializer(op, node, [-1, -1], "end")
    return op.Slice(doubled, begin, end, initializer(op, node, [2, 3], "axes"), _name=f"{node.name}.cut")


def _early_pad_form(op: Tape, node: ir.Node, match: Match) -> ir.Value:
    doubled = repeat_pixels(op, node, _edge_pad(op, node, match.source, 0), (2, 2), rounding="ceil")
    return op.Conv(doubled, *node.inputs[1:], _name=node.name, **node.attributes)


def _edge_pad(op: Tape, node: ir.Node, source: ir.Value, end: int) -> ir.Value:
    """Repeat the first row and column of `source`, and the last ones if `end` is 1."""
    amounts = initializer(op, node, [0, 0, 1, 1, 0, 0, end, end], "edge")
    return op.Pad(source, amounts, mode="edge", _name=f"{node.name}.pad")


FORMS = {"transposed": _transposed_form, "phase": _phase_form, "early-pad": _early_pad_form}
