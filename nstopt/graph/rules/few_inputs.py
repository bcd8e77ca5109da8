"""Compute a wide convolution of few channels on 2x2 blocks: twelve channels in, four pixels out at a time.

    Conv KxK, 3 → D   ⇒   phase:  SpaceToDepth(2) ─ Conv (K+1)/2 x (K+1)/2, 12 → 4D ─ DepthToSpace(2)

The vector unit then reads twelve values at a time instead of three, for (K+1)²/K² times the multiplications. The form
needs an even height and width, and K = 1 mod 4, so that the kernel begins at a block.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, read_convolution, spatial
from nstopt.graph.rule import PLAIN, Declined, Layer, Rule, Tape, phase_conv

KIND = "few-inputs"
MAX_INPUTS = 4
MIN_KERNEL = 5


class FewInputs(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Convolution | None:
        conv = read_convolution(node)
        if conv is None or conv.weight.shape[1] > MAX_INPUTS or max(conv.weight.shape[2:]) < MIN_KERNEL:
            return None
        size, (height, width) = spatial(node.inputs[0]), conv.weight.shape[2:]
        if self.context.choose(Layer.of(KIND, conv.weight.shape, size)) == PLAIN:
            return None
        if not conv.is_basic or height != width:
            raise Declined("it is grouped, strided, dilated, or its kernel is not square")
        if height % 4 != 1 or conv.pads not in ((height // 2,) * 4, (0,) * 4):
            raise Declined("its kernel does not begin at a block of 2x2 pixels")
        if size is None or size[0] % 2 or size[1] % 2:
            raise Declined(f"phase form needs an even height and width, not {size or 'any'}")
        return conv

    def replace(self, op: Tape, node: ir.Node, match: Convolution) -> tuple[ir.Value, str]:
        outputs, inputs, kernel = match.weight.shape[:3]
        blocks = kernel // 2 + 1
        # Row 2i + a of the result reads row 2(i + r) + u, which is tap 2r + u - a of the kernel.
        spread = np.zeros((outputs, 2, 2, inputs, 2 * blocks, 2 * blocks), np.float32)
        for a in (0, 1):
            for b in (0, 1):
                spread[:, a, b, :, a : a + kernel, b : b + kernel] = match.weight
        split = spread.reshape(outputs, 2, 2, inputs, blocks, 2, blocks, 2).transpose(0, 1, 2, 5, 7, 3, 4, 6)
        weight = split.reshape(outputs, 2, 2, 4 * inputs, blocks, blocks)
        source = op.SpaceToDepth(node.inputs[0], blocksize=2, _name=f"{node.name}.blocks")
        pads = [pad // 2 for pad in match.pads]
        return phase_conv(op, node, source, weight, match.bias, pads=pads), "phase form"
