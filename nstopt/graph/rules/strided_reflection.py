"""Pad zeros instead of a reflection before a grouped convolution of stride 2, and correct the border of the result.

    x ─ Pad(reflect, 1) ─ Conv 3x3 stride 2
        ⇒   corrected:  x ─ Conv 3x3 stride 2, pads 1 ─ Add(row + column)

        row:     second row of x ─ Pad(reflect) ─ Conv 1x3 stride 2 ─ Mul(1 in the first row, else 0)
        column:  second column of x ─ Conv 3x1 stride 2 ─ Mul(1 in the first column, else 0)

A depthwise convolution takes less time than the padding before it, which copies the whole tensor. The sum of row and
column has a quarter of its pixels. At an even size, stride 2 reads padding at the top and at the left only: the first
row of the kernel there meets the second row of x, which zeros leave out. The padding may repeat the first row instead
(mode edge).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, Padding, producer, read_convolution, read_padding, spatial
from nstopt.graph.rule import PLAIN, Array, Declined, Layer, Rule, Tape, initializer

KIND = "strided-reflection"
# Row and column of x that the padding repeats, by its mode.
REPEATED = {"reflect": 1, "edge": 0}


class Match(NamedTuple):
    """`size` is (height, width) of the result."""

    conv: Convolution
    padding: Padding
    size: tuple[int, int]


class StridedReflection(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        pad, conv = producer(node.inputs[0], "Pad"), read_convolution(node)
        if pad is None or conv is None or conv.group == 1:
            return None
        if conv.weight.shape[2:] != (3, 3) or conv.strides != (2, 2) or conv.is_dilated:
            return None
        padding, size = read_padding(pad), spatial(pad.inputs[0])
        if padding is None or padding.mode not in REPEATED or padding.pads != (1, 1, 1, 1) or any(conv.pads):
            raise Declined("the padding is not a reflection or repetition by 1 all around")
        if self.context.choose(Layer.of(KIND, conv.by_group.shape, size)) == PLAIN:
            return None
        if size is None or size[0] % 2 or size[1] % 2:
            raise Declined(f"corrected form needs an even height and width, not {size or 'any'}")
        return Match(conv, padding, (size[0] // 2, size[1] // 2))

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        source, mode = match.padding.source, match.padding.mode
        amounts = initializer(op, node, [0, 0, 0, 1, 0, 0, 0, 0], "row.pads")
        row = op.Pad(_line(op, node, source, 2, mode), amounts, mode=mode, _name=f"{node.name}.row.pad")
        column = _line(op, node, source, 3, mode)
        weight, (height, width) = match.conv.weight, match.size
        first_row = np.eye(height, 1, dtype=np.float32)[None, None]
        first_column = np.eye(1, width, dtype=np.float32)[None, None]
        row = _strip(op, node, row, weight[:, :, :1], first_row, "row", strides=[1, 2])
        column = _strip(op, node, column, weight[..., :1], first_column, "column", strides=[2, 1], pads=[1, 0, 0, 0])
        # OpenVINO adds one full tensor within the convolution. So row and column are summed first, also in the graph.
        correction = op.Add(row, column, _name=f"{node.name}.correction")
        attributes = {**node.attributes, "pads": [1, 1, 1, 1]}
        inside = op.Conv(source, *node.inputs[1:], _name=node.name, **attributes)
        return op.Add(inside, correction, _name=f"{node.name}.corrected"), "corrected form, no copy of the tensor"


def _line(op: Tape, node: ir.Node, source: ir.Value, axis: int, mode: str) -> ir.Value:
    """Add the cut of the row (axis 2) or the column (axis 3) that the padding repeats."""
    start, name = REPEATED[mode], f"cut{axis}"
    bounds = [initializer(op, node, [number], f"{name}.{i}") for i, number in enumerate((start, start + 1, axis))]
    return op.Slice(source, *bounds, _name=f"{node.name}.{name}")


def _strip(
    op: Tape, node: ir.Node, line: ir.Value, weight: Array, place: Array, name: str, **attributes: Any
) -> ir.Value:
    """Add the convolution of a row or a column, and put its result where `place` is 1 in a tensor of zeros."""
    kernel = initializer(op, node, weight, f"{name}.weight")
    group = node.attributes.get_int("group")
    share = op.Conv(line, kernel, group=group, _name=f"{node.name}.{name}", **attributes)
    return op.Mul(share, initializer(op, node, place, f"{name}.place"), _name=f"{node.name}.{name}.place")
