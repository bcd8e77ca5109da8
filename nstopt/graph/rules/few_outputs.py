"""Compute a wide convolution to few channels in a form that fills the vector unit. Three channels fill 3 of 16 lanes.

    Conv KxK, C → 3   ⇒   phase:  Conv (K+1)x(K+1) stride 2, C → 12 ─ DepthToSpace(2)
                          split:  Conv 1xK, C → 3K ─ Conv Kx1, 3K → 3 (weights of 0 and 1 that add up the rows)

Phase: the four pixels of a 2x2 block become channels of one stride-2 convolution, whose kernel holds four shifted
copies of the original one. It multiplies (K+1)²/K² times as often, and needs an even height and width. Split: the sum
over kernel rows becomes a second convolution. It multiplies as often as before, and fits any size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, read_convolution, spatial
from nstopt.graph.rule import PLAIN, Declined, Layer, Rule, Tape, initializer, phase_conv, weight_and_bias

KIND = "few-outputs"
MAX_OUTPUTS = 4
MIN_KERNEL = 3
MIN_INPUTS = 8


class Match(NamedTuple):
    conv: Convolution
    form: str


class FewOutputs(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        conv = read_convolution(node)
        if conv is None or conv.weight.shape[0] > MAX_OUTPUTS or conv.weight.shape[1] < MIN_INPUTS:
            return None
        if not conv.is_basic or min(conv.weight.shape[2:]) < MIN_KERNEL:
            raise Declined("it is grouped, strided, dilated, or its kernel is narrow")
        size = spatial(node.outputs[0])
        form = self.context.choose(Layer.of(KIND, conv.weight.shape, size))
        if form == "phase" and (size is None or size[0] % 2 or size[1] % 2):
            raise Declined(f"phase form needs an even height and width, not {size or 'any'}")
        return None if form == PLAIN else Match(conv, form)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        build = _phase_form if match.form == "phase" else _split_form
        return build(op, node, match.conv), f"{match.form} form"


def _phase_form(op: Tape, node: ir.Node, conv: Convolution) -> ir.Value:
    outputs, inputs, height, width = conv.weight.shape
    weight = np.zeros((outputs, 2, 2, inputs, height + 1, width + 1), np.float32)
    for a in (0, 1):
        for b in (0, 1):
            weight[:, a, b, :, a : a + height, b : b + width] = conv.weight
    return phase_conv(op, node, node.inputs[0], weight, conv.bias, strides=[2, 2], pads=list(conv.pads))


def _split_form(op: Tape, node: ir.Node, conv: Convolution) -> ir.Value:
    """Channel (d, k) of the first convolution is the share of kernel row k in channel d. The second one adds the shares
    of rows i + k."""
    outputs, inputs, height, width = conv.weight.shape
    top, left, bottom, right = conv.pads
    rows = conv.weight.transpose(0, 2, 1, 3).reshape(outputs * height, inputs, 1, width)
    # Entry [d, (e, k), y] is 1 where e = d and k = y.
    sums = np.eye(outputs * height).reshape(outputs, height, outputs * height).transpose(0, 2, 1)[..., None]
    row_weight = initializer(op, node, rows, "rows.weight")
    shares = op.Conv(node.inputs[0], row_weight, pads=[0, left, 0, right], _name=node.name)
    constants = weight_and_bias(op, node, sums, conv.bias, "sum")
    return op.Conv(shares, *constants, pads=[top, 0, bottom, 0], _name=f"{node.name}.sum")
