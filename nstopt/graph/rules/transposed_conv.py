"""Split a stride-2 transposed convolution into four small convolutions, one for each pixel of a 2x2 block.

    ConvTranspose KxK stride 2, C → D   ⇒   phase:  Conv T x T, C → 4D ─ DepthToSpace(2)

with T = ceil((K + pad) / 2) taps, some of which are zeros. Not every device has INT8 transposed convolutions, and some
runtimes' float ones are slow. A plain convolution is fast everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, read_convolution, spatial
from nstopt.graph.rule import PLAIN, Declined, Layer, Rule, Tape, phase_conv

KIND = "transposed-conv"


class Axis(NamedTuple):
    """Phase form along one axis. Row 2r + a of the result is the sum over t of x[r + t - before] times kernel row
    `taps[a][t]`; -1 stands for no row."""

    taps: list[list[int]]
    before: int
    after: int


class Match(NamedTuple):
    conv: Convolution
    rows: Axis
    columns: Axis


class TransposedConv(Rule):
    anchors = ("ConvTranspose",)

    def match(self, node: ir.Node) -> Match | None:
        conv = read_convolution(node)
        if conv is None:
            return None
        if conv.strides != (2, 2) or conv.group != 1 or conv.is_dilated:
            raise Declined("it is grouped, dilated, or not of stride 2")
        if self.context.choose(Layer.of(KIND, conv.weight.shape, spatial(node.inputs[0]))) == PLAIN:
            return None
        extra = node.attributes.get_ints("output_padding", [0, 0])
        rows, columns = (_axis(conv.weight.shape[2 + i], conv.pads[i], conv.pads[2 + i] - extra[i]) for i in (0, 1))
        if rows is None or columns is None or "output_shape" in node.attributes:
            raise Declined("the result is not twice the size of the input")
        return Match(conv, rows, columns)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        conv, rows, columns = match
        inputs, outputs = conv.weight.shape[:2]
        weight = np.zeros((outputs, 2, 2, inputs, len(rows.taps[0]), len(columns.taps[0])), np.float32)
        for a in (0, 1):
            for b in (0, 1):
                for i, y in enumerate(rows.taps[a]):
                    for j, x in enumerate(columns.taps[b]):
                        if y >= 0 and x >= 0:
                            weight[:, a, b, :, i, j] = conv.weight[:, :, y, x].T
        pads = [rows.before, columns.before, rows.after, columns.after]
        return phase_conv(op, node, node.inputs[0], weight, conv.bias, pads=pads), "phase form"


def _axis(kernel: int, begin: int, end: int) -> Axis | None:
    """Return the taps along one axis, or None if the result is not exactly twice as long as x.

    Row o of the result adds x[r] * kernel[t] for all 2r + t = o + begin. It has 2(n - 1) + kernel - begin - end rows
    for n rows of x.
    """
    if kernel - begin - end != 2:
        return None
    # For o = 2i + a: r = i + (a + begin - t) / 2, so tap t reads row i + shift.
    shifts = [{(a + begin - t) // 2: t for t in range(kernel) if (a + begin - t) % 2 == 0} for a in (0, 1)]
    lowest, highest = min(min(s) for s in shifts if s), max(max(s) for s in shifts if s)
    if lowest > 0 or highest < 0:
        return None
    taps = [[s.get(shift, -1) for shift in range(lowest, highest + 1)] for s in shifts]
    return Axis(taps, -lowest, highest)
