"""A wide convolution to few channels wastes the vector unit: three of sixteen lanes work. Two forms fill it.

    Conv KxK, C → 3   ⇒   phase:  Conv (K+1)x(K+1) stride 2, C → 12 ─ DepthToSpace(2)
                          split:  Conv 1xK, C → 3K ─ Conv Kx1, 3K → 3 (its weights are ones that pick each row's part)

Phase: the four pixels of a 2x2 block become channels of one stride-2 convolution, whose kernel holds the four shifted
copies of the old one; it multiplies (K+1)²/K² as often and needs an even height and width. Split: the sum over rows is
taken out of the convolution; it multiplies as often as before and fits any size.
"""

from __future__ import annotations

from typing import Any

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
    producer,
    read_convolution,
    spatial,
)

KIND = "few-outputs"
MAX_OUTPUTS = 4
MIN_KERNEL = 3
MIN_INPUTS = 8


class FewOutputs(Rule):
    anchors = ("Conv",)

    def plan(self, node: ir.Node) -> Any:
        read = read_convolution(node)
        if read is None or read.weight.shape[0] > MAX_OUTPUTS or read.weight.shape[1] < MIN_INPUTS:
            return None
        if read.group != 1 or read.strides != (1, 1) or read.dilated or min(read.weight.shape[2:]) < MIN_KERNEL:
            raise Declined("it is grouped, strided, dilated, or its kernel is narrow")
        size = spatial(node.outputs[0])
        form = self.context.choose(Layer(KIND, (*read.weight.shape, *(size or (0, 0)))))
        if form == "phase" and (size is None or size[0] % 2 or size[1] % 2):
            raise Declined(f"phase form needs an even height and width, not {size or 'any'}")
        return None if form == "plain" else (read, form)

    def apply(self, op: Tape, node: ir.Node, plan: Any) -> tuple[ir.Value, str]:
        read, form = plan
        build = phase_form if form == "phase" else split_form
        return build(op, node, read), f"{form} form"


def phase_form(op: Tape, node: ir.Node, read: Convolution) -> ir.Value:
    """Channel (c, a, b) of the stride-2 convolution is channel c at row 2i + a, column 2j + b."""
    outputs, inputs, height, width = read.weight.shape
    kernel = np.zeros((outputs, 2, 2, inputs, height + 1, width + 1), np.float32)
    for a in (0, 1):
        for b in (0, 1):
            kernel[:, a, b, :, a : a + height, b : b + width] = read.weight
    weight = initializer(op, kernel.reshape(outputs * 4, inputs, height + 1, width + 1), f"{node.name}.phase.weight")
    bias = [] if read.bias is None else [initializer(op, np.repeat(read.bias, 4), f"{node.name}.phase.bias")]
    phases = op.Conv(node.inputs[0], weight, *bias, strides=[2, 2], pads=list(read.pads), _name=node.name)
    return op.DepthToSpace(phases, blocksize=2, mode="CRD", _name=f"{node.name}.interleave")


def split_form(op: Tape, node: ir.Node, read: Convolution) -> ir.Value:
    """Channel (c, k) of the row convolution is what kernel row k adds to channel c; the second one adds row i + k's."""
    outputs, inputs, height, width = read.weight.shape
    rows = np.transpose(read.weight, (0, 2, 1, 3)).reshape(outputs * height, inputs, 1, width)
    top, left, bottom, right = read.pads
    row_weight = initializer(op, rows, f"{node.name}.rows.weight")
    sum_weight = initializer(op, _gather(outputs, height), f"{node.name}.sum.weight")
    bias = [] if read.bias is None else [initializer(op, read.bias, f"{node.name}.sum.bias")]
    parts = op.Conv(node.inputs[0], row_weight, pads=[0, left, 0, right], _name=node.name)
    return op.Conv(parts, sum_weight, *bias, pads=[top, 0, bottom, 0], _name=f"{node.name}.sum")


def _gather(outputs: int, height: int) -> Array:
    weight = np.zeros((outputs, outputs, height, height, 1), np.float32)
    for channel in range(outputs):
        weight[channel, channel, range(height), range(height)] = 1
    return weight.reshape(outputs, outputs * height, height, 1)


def is_gather(node: ir.Node) -> bool:
    """Whether a convolution is the second half of a split form: it adds exact parts, which INT8 would round."""
    return producer(node.inputs[0], "Conv") is not None and node.name is not None and node.name.endswith(".sum")
