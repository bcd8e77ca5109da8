"""Fold a crop into the padding of the preceding ConvTranspose, which then does not compute the cropped pixels.

ConvTranspose(pads p) ─ Slice(height and width from a to size - b)   ⇒   ConvTranspose(pads p + (a, b))
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import constant, only_use, producer, read_convolution, spatial
from nstopt.graph.rule import Declined, Rule, Tape


class Match(NamedTuple):
    """The transposed convolution, and its pads with the crop added."""

    conv_node: ir.Node
    pads: list[int]


class CropIntoTransposed(Rule):
    anchors = ("Slice",)

    def match(self, node: ir.Node) -> Match | None:
        conv_node = producer(node.inputs[0], "ConvTranspose")
        if conv_node is None:
            return None
        conv = read_convolution(conv_node)
        if conv is None or only_use(conv_node.outputs[0]) is None or "output_shape" in conv_node.attributes:
            raise Declined("the transposed convolution has computed weights, other readers, or a size of its own")
        crop = _crop(node)
        if crop is None:
            raise Declined("the crop is not a known border of height and width")
        return Match(conv_node, [pad + cut for pad, cut in zip(conv.pads, crop, strict=True)])

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        conv_node, pads = match
        attributes = {**conv_node.attributes, "pads": pads}
        out = op.ConvTranspose(*conv_node.inputs, _name=conv_node.name, **attributes)
        return out, f"crop folded into the transposed convolution, pads {pads}"


def _crop(node: ir.Node) -> list[int] | None:
    """Return the rows and columns that a Slice cuts off, (top, left, bottom, right).

    None if they are not known, or if the Slice does anything else than cut a border.
    """
    arrays = [constant(value) for value in node.inputs[1:]]
    if len(arrays) < 3 or any(array is None for array in arrays):
        return None
    starts, ends, axes = ([int(i) for i in array] for array in arrays[:3] if array is not None)
    steps = arrays[3] if len(arrays) > 3 else np.ones(len(axes))
    size = spatial(node.inputs[0])
    if steps is None or np.any(steps != 1) or any(axis % 4 not in (2, 3) for axis in axes):
        return None
    crop = [0, 0, 0, 0]
    for start, end, axis in zip(starts, ends, axes, strict=True):
        side = axis % 4 - 2
        if size is not None:
            start, stop, _ = slice(start, end).indices(size[side])
            end = stop - size[side]
            if start >= stop:
                return None
        elif start < 0 or end >= 0:
            return None
        crop[side], crop[side + 2] = start, -end
    return crop
