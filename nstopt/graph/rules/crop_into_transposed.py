"""A transposed convolution need not compute what is cropped away at once.

ConvTranspose(pads p) ─ Slice(height and width from a to size - b)   ⇒   ConvTranspose(pads p + (a, b))
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Declined, Rule, Tape, constant, only_use, producer, read_convolution, spatial


class CropIntoTransposed(Rule):
    anchors = ("Slice",)

    def plan(self, node: ir.Node) -> Any:
        convolution = producer(node.inputs[0], "ConvTranspose")
        if convolution is None or node.inputs[0] is None:
            return None
        read = read_convolution(convolution)
        if read is None or only_use(node.inputs[0]) is None or "output_shape" in convolution.attributes:
            raise Declined("the transposed convolution is read elsewhere too, or fixes its own size")
        cut = self._cut(node)
        if cut is None:
            raise Declined("the crop is not a known border of height and width")
        return convolution, [a + b for a, b in zip(read.pads, cut, strict=True)]

    def _cut(self, node: ir.Node) -> list[int] | None:
        """Rows and columns cut at (top, left, bottom, right)."""
        arrays = [constant(value) for value in node.inputs[1:]]
        if len(arrays) < 3 or any(array is None for array in arrays):
            return None
        starts, ends, axes = ([int(i) for i in array] for array in arrays[:3] if array is not None)
        steps = arrays[3] if len(arrays) > 3 else np.ones(len(axes))
        size = spatial(node.inputs[0])
        if steps is None or np.any(steps != 1) or any(axis % 4 not in (2, 3) for axis in axes):
            return None
        cut = [0, 0, 0, 0]
        for start, end, axis in zip(starts, ends, axes, strict=True):
            side = axis % 4 - 2
            if size is not None:
                start, stop, _ = slice(start, end).indices(size[side])
                end = stop - size[side]
                if start >= stop:
                    return None
            elif start < 0 or end >= 0:
                return None
            cut[side], cut[side + 2] = start, -end
        return cut

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        convolution, pads = plan
        kept = {name: value for name, value in convolution.attributes.items() if name != "pads"}
        out = op.ConvTranspose(*convolution.inputs, pads=pads, _name=convolution.name, **kept)
        return out, f"crop moved into the transposed convolution, pads {pads}"
