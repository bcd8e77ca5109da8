"""A stride-2 transposed convolution is four small convolutions, one for each pixel of a 2x2 block.

    ConvTranspose KxK stride 2, C → D   ⇒   phase:  Conv T x T, C → 4D ─ DepthToSpace(2) [─ Slice]

with T = ceil((K + pad) / 2) taps, some of which are zeros. INT8 transposed convolutions do not exist on every device,
and some runtimes' float ones are slow; a plain convolution is fast everywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import (
    Array,
    Convolution,
    Declined,
    Layer,
    Rule,
    Tape,
    initializer,
    ints,
    read_convolution,
    spatial,
)

KIND = "transposed-conv"


class Axis(NamedTuple):
    """One axis of the phase form. Row 2r + a of the result is the sum over t of x[r + t - before] times kernel row
    `taps[a][t]`, -1 standing for no row."""

    taps: list[list[int]]
    before: int
    after: int


class TransposedConv(Rule):
    anchors = ("ConvTranspose",)

    def plan(self, node: ir.Node) -> Any:
        read, size = read_convolution(node), spatial(node.inputs[0])
        if read is None:
            return None
        if read.strides != (2, 2) or read.group != 1 or read.dilated:
            raise Declined("it is not a plain transposed convolution of stride 2")
        form = self.context.choose(Layer(KIND, (*read.weight.shape, *(size or (0, 0)))))
        if form == "plain":
            return None
        extra = ints(node, "output_padding", [0, 0])
        axes = [axis_of(read.weight.shape[2 + i], read.pads[i], read.pads[2 + i] - extra[i]) for i in (0, 1)]
        if None in axes or "output_shape" in node.attributes:
            raise Declined("the result is not twice the size of the input")
        return read, axes

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        return phase_form(op, node, *plan), "phase form"


def axis_of(kernel: int, begin: int, end: int) -> Axis | None:
    """The taps along one axis, or None if the result is not exactly twice as long as x.

    Row o of the result adds x[r] * kernel[t] for all 2r + t = o + begin; the result has 2(n - 1) + kernel - begin - end
    rows for n of x.
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


def phase_form(op: Tape, node: ir.Node, read: Convolution, axes: list[Axis]) -> ir.Value:
    """One convolution whose channel (d, a, b) is channel d at row 2i + a, column 2j + b."""
    rows, columns = axes
    inputs, outputs = read.weight.shape[:2]
    kernel = np.zeros((outputs, 2, 2, inputs, len(rows.taps[0]), len(columns.taps[0])), np.float32)
    for a in (0, 1):
        for b in (0, 1):
            for i, y in enumerate(rows.taps[a]):
                for j, x in enumerate(columns.taps[b]):
                    if y >= 0 and x >= 0:
                        kernel[:, a, b, :, i, j] = read.weight[:, :, y, x].T
    flat: Array = kernel.reshape(outputs * 4, inputs, *kernel.shape[4:])
    weight = initializer(op, flat, f"{node.name}.phase.weight")
    bias = [] if read.bias is None else [initializer(op, np.repeat(read.bias, 4), f"{node.name}.phase.bias")]
    pads = [rows.before, columns.before, rows.after, columns.after]
    phases = op.Conv(node.inputs[0], weight, *bias, pads=pads, _name=node.name)
    return op.DepthToSpace(phases, blocksize=2, mode="CRD", _name=f"{node.name}.interleave")
