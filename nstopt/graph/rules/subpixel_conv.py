"""Merge a sub-pixel upsampling (PixelShuffle) into one transposed convolution. This reverses the phase form.

    Conv KxK, C → 4D ─ DepthToSpace(2)   ⇒   transposed:  ConvTranspose 2Kx2K stride 2, C → D

Both multiply equally often. On a device with good transposed kernels, this saves the interleaving of the four phases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, only_use, producer, read_convolution, spatial
from nstopt.graph.rule import PLAIN, Array, Declined, Layer, Rule, Tape, weight_and_bias

KIND = "subpixel-conv"


class Match(NamedTuple):
    """`weight` [D, 2, 2, C, K, K] holds the kernels of the phases, `bias` [D] their common bias."""

    conv_node: ir.Node
    conv: Convolution
    weight: Array
    bias: Array | None


class SubpixelConv(Rule):
    anchors = ("DepthToSpace",)

    def match(self, node: ir.Node) -> Match | None:
        conv_node = producer(node.inputs[0], "Conv")
        conv = read_convolution(conv_node)
        if conv_node is None or conv is None or node.attributes.get_int("blocksize") != 2:
            return None
        if self.context.choose(Layer.of(KIND, conv.weight.shape, spatial(conv_node.inputs[0]))) == PLAIN:
            return None
        if not conv.is_basic or only_use(conv_node.outputs[0]) is None:
            raise Declined("the convolution is grouped, strided, dilated, or has other readers")
        if any(pad >= side for pad, side in zip(conv.pads, conv.weight.shape[2:] * 2, strict=True)):
            raise Declined("the convolution pads as much as its kernel is wide")
        outputs = conv.weight.shape[0] // 4
        if node.attributes.get_string("mode", "DCR") == "CRD":
            order = np.arange(4 * outputs).reshape(outputs, 4)
        else:
            order = np.arange(4 * outputs).reshape(4, outputs).T
        bias = None if conv.bias is None else conv.bias[order]
        if bias is not None and np.any(bias != bias[:, :1]):
            raise Declined("its four phases have different biases")
        weight = conv.weight[order].reshape(outputs, 2, 2, *conv.weight.shape[1:])
        return Match(conv_node, conv, weight, None if bias is None else bias[:, 0])

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        conv_node, (outputs, _, _, inputs, height, width) = match.conv_node, match.weight.shape
        # Row 2i + a adds x[i + t - pad] times tap t, so tap t of phase a is row a + 2 (K - 1 - t) of the new kernel.
        weight = match.weight[..., ::-1, ::-1].transpose(3, 0, 4, 1, 5, 2)
        constants = weight_and_bias(
            op, conv_node, weight.reshape(inputs, outputs, 2 * height, 2 * width), match.bias, "transposed"
        )
        sides = (height, width, height, width)
        pads = [2 * (side - 1 - pad) for side, pad in zip(sides, match.conv.pads, strict=True)]
        out = op.ConvTranspose(conv_node.inputs[0], *constants, strides=[2, 2], pads=pads, _name=conv_node.name)
        return out, "transposed form"
