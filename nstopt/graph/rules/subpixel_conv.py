"""The phase form back to a transposed convolution: what sub-pixel upsampling (PixelShuffle) is.

    Conv KxK, C → 4D ─ DepthToSpace(2)   ⇒   transposed:  ConvTranspose 2Kx2K stride 2, C → D

Both multiply equally often; on a device whose transposed kernel is good, the four phases need not be interleaved.
"""

from __future__ import annotations

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
    initializer,
    only_use,
    producer,
    read_convolution,
    spatial,
)

KIND = "subpixel-conv"


class Plan(NamedTuple):
    """`kernel` [D, 2, 2, C, K, K] holds the phases' kernels, `bias` [D] what they all add."""

    convolution: ir.Node
    read: Convolution
    kernel: Array
    bias: Array | None


class SubpixelConv(Rule):
    anchors = ("DepthToSpace",)

    def plan(self, node: ir.Node) -> Plan | None:
        convolution = producer(node.inputs[0], "Conv")
        read = read_convolution(convolution) if convolution is not None else None
        if convolution is None or read is None or node.attributes["blocksize"].as_int() != 2:
            return None
        shape = (*read.weight.shape, *(spatial(convolution.inputs[0]) or (0, 0)))
        if self.context.choose(Layer(KIND, shape)) == "plain":
            return None
        if read.group != 1 or read.strides != (1, 1) or read.dilated or only_use(convolution.outputs[0]) is None:
            raise Declined("the convolution is grouped, strided, dilated, or read elsewhere too")
        if any(pad >= side for pad, side in zip(read.pads, read.weight.shape[2:] * 2, strict=True)):
            raise Declined("the convolution pads as much as its kernel is wide")
        mode = node.attributes.get("mode")
        outputs = read.weight.shape[0] // 4
        if mode is not None and mode.as_string() == "CRD":
            order = np.arange(4 * outputs).reshape(outputs, 4)
        else:
            order = np.arange(4 * outputs).reshape(4, outputs).T
        bias = None if read.bias is None else read.bias[order]
        if bias is not None and np.any(bias != bias[:, :1]):
            raise Declined("its four phases add different biases")
        kernel = read.weight[order].reshape(outputs, 2, 2, *read.weight.shape[1:])
        return Plan(convolution, read, kernel, None if bias is None else bias[:, 0])

    def apply(self, op: Tape, node: ir.Node, plan: Plan) -> tuple[ir.Value, str]:
        outputs, _, _, inputs, height, width = plan.kernel.shape
        # Row 2i + a adds x[i + t - pad] times tap t, so tap t of phase a is row a + 2 (K - 1 - t) of the new kernel.
        weight = np.zeros((inputs, outputs, height, 2, width, 2), np.float32)
        weight[...] = plan.kernel[..., ::-1, ::-1].transpose(3, 0, 4, 1, 5, 2)
        name = plan.convolution.name
        parts = [initializer(op, weight.reshape(inputs, outputs, 2 * height, 2 * width), f"{name}.transposed.weight")]
        if plan.bias is not None:
            parts.append(initializer(op, plan.bias, f"{name}.transposed.bias"))
        sides = (height, width, height, width)
        pads = [2 * (side - 1 - pad) for side, pad in zip(sides, plan.read.pads, strict=True)]
        source = plan.convolution.inputs[0]
        return op.ConvTranspose(source, *parts, strides=[2, 2], pads=pads, _name=name), "transposed form"
