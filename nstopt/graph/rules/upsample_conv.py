"""A 3x3 convolution on a picture that was doubled by repeating pixels multiplies most of them twice.

    x ─ Resize(nearest x2) ─ Pad(1) ─ Conv 3x3, C → D

    ⇒ transposed:  x ─ Pad(1) ─ ConvTranspose 4x4 stride 2, C → D
      phase:       x ─ Pad(1) ─ Conv 2x2, C → 4D ─ DepthToSpace(2) ─ Slice(cut one pixel all around)

Both multiply 2.25 times less often: of the three rows that a row of the result reads, two are the same row of x, so
their weights are added. A reflection by 1 on the doubled grid repeats the pixel at its edge, as an edge padding by 1 on
x does; zeros stay zeros. Both forms are therefore exact at the border too.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import (
    Array,
    Convolution,
    Declined,
    Layer,
    Rule,
    Tape,
    constant,
    initializer,
    producer,
    read_convolution,
    read_padding,
    spatial,
)

KIND = "upsample-conv"
# Row t of the transposed kernel is the sum of these rows of the 3x3 kernel.
TRANSPOSED = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
# Rows of the 2x2 kernels of phase 0 (the lower pixel of the block before) and phase 1 (the upper pixel of this one).
PHASES = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)
# Ways to map coordinates and to round them that repeat each pixel when the ratio is two.
REPEATING = [
    ("asymmetric", "floor"),
    *itertools.product(("half_pixel", "pytorch_half_pixel"), ("round_prefer_floor", "round_prefer_ceil")),
]


class Match(NamedTuple):
    """`source` is the small picture, `mode` how it has to be padded."""

    source: ir.Value
    mode: str
    read: Convolution
    form: str


class UpsampleConv(Rule):
    anchors = ("Conv",)

    def plan(self, node: ir.Node) -> Match | None:
        pad = producer(node.inputs[0], "Pad")
        resize = producer(pad.inputs[0] if pad is not None else node.inputs[0], "Resize")
        if resize is None or resize.inputs[0] is None:
            return None
        read, padding = read_convolution(node), read_padding(pad)
        if read is None or read.weight.shape[2:] != (3, 3) or read.strides != (1, 1) or read.group != 1 or read.dilated:
            raise Declined("the convolution after the upsampling is not a plain 3x3 one")
        if not doubles(resize):
            raise Declined("the upsampling is not a doubling by repeated pixels")
        mode = _edge_mode(read, padding.mode if padding else None, padding.pads if padding else (0, 0, 0, 0))
        if mode is None or (pad is not None and padding is None):
            raise Declined("the padding between upsampling and convolution is not by 1 all around")
        size = spatial(resize.inputs[0])
        form = self.context.choose(Layer(KIND, (*read.weight.shape, *(size or (0, 0)))))
        return None if form == "plain" else Match(resize.inputs[0], mode, read, form)

    def apply(self, op: Tape, node: ir.Node, plan: Match) -> tuple[ir.Value, str]:
        build = _transposed if plan.form == "transposed" else _phases
        return build(op, node, plan), f"{plan.form} form, 2.25x fewer multiplications"


def doubles(resize: ir.Node) -> bool:
    """Whether a Resize repeats each pixel twice both ways."""
    mode = resize.attributes.get("mode")
    if mode is not None and mode.as_string() != "nearest":
        return False
    scales = constant(resize.inputs[2]) if len(resize.inputs) > 2 else None
    if scales is not None and scales.size == 4:
        ratio = [float(scale) for scale in scales]
    else:
        x, y = resize.inputs[0], resize.outputs[0]
        before, after = spatial(x), spatial(y)
        if before is None or after is None or x.shape[:2] != y.shape[:2]:  # type: ignore[union-attr,index]
            return False
        ratio = [1.0, 1.0, after[0] / before[0], after[1] / before[1]]
    transform = resize.attributes.get("coordinate_transformation_mode")
    rounding = resize.attributes.get("nearest_mode")
    how = (
        transform.as_string() if transform else "half_pixel",
        rounding.as_string() if rounding else "round_prefer_floor",
    )
    return ratio == [1.0, 1.0, 2.0, 2.0] and how in REPEATING


def _edge_mode(read: Convolution, mode: str | None, pads: tuple[int, ...]) -> str | None:
    """How the small picture has to be padded by 1, or None if there is no such way."""
    own = read.pads
    if mode in ("reflect", "edge") and pads == (1, 1, 1, 1) and own == (0, 0, 0, 0):
        return "edge"
    total = tuple(a + b for a, b in zip(pads, own, strict=True))
    return "constant" if mode in (None, "constant") and total == (1, 1, 1, 1) else None


def _transposed(op: Tape, node: ir.Node, plan: Match) -> ir.Value:
    kernel = np.einsum("ty,ux,oiyx->iotu", TRANSPOSED, TRANSPOSED, plan.read.weight)
    weight = initializer(op, kernel.astype(np.float32), f"{node.name}.transposed.weight")
    source, pads = plan.source, [1, 1, 1, 1]
    if plan.mode == "edge":
        source, pads = _pad(op, node, plan.source), [3, 3, 3, 3]
    return op.ConvTranspose(source, weight, *node.inputs[2:], strides=[2, 2], pads=pads, _name=node.name)


def _phases(op: Tape, node: ir.Node, plan: Match) -> ir.Value:
    """Position r of the convolution, on rows r - 1 and r of x, gives rows 2r - 1 and 2r of the result."""
    outputs, inputs = plan.read.weight.shape[:2]
    kernel = np.einsum("aty,bux,oiyx->oabitu", PHASES, PHASES, plan.read.weight)
    weight = initializer(op, _flat(kernel, outputs, inputs), f"{node.name}.phase.weight")
    bias = plan.read.bias
    biases = [] if bias is None else [initializer(op, np.repeat(bias, 4), f"{node.name}.phase.bias")]
    source, pads = plan.source, [1, 1, 1, 1]
    if plan.mode == "edge":
        source, pads = _pad(op, node, plan.source), [0, 0, 0, 0]
    phases = op.Conv(source, weight, *biases, pads=pads, _name=node.name)
    doubled = op.DepthToSpace(phases, blocksize=2, mode="CRD", _name=f"{node.name}.interleave")
    begin, end, axes = (
        initializer(op, np.array(values, np.int64), f"{node.name}.{name}")
        for name, values in (("begin", [1, 1]), ("end", [-1, -1]), ("axes", [2, 3]))
    )
    return op.Slice(doubled, begin, end, axes, _name=f"{node.name}.cut")


def _flat(kernel: Array, outputs: int, inputs: int) -> Array:
    return kernel.reshape(outputs * 4, inputs, 2, 2).astype(np.float32)


def _pad(op: Tape, node: ir.Node, source: ir.Value) -> ir.Value:
    amounts = initializer(op, np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), f"{node.name}.edge")
    return op.Pad(source, amounts, mode="edge", _name=f"{node.name}.pad")
