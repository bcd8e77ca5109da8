"""A wide convolution of the picture's three channels, on its 2x2 blocks: twelve channels in, four pixels out at a time.

    Conv KxK, 3 → D   ⇒   phase:  SpaceToDepth(2) ─ Conv (K+1)/2 x (K+1)/2, 12 → 4D ─ DepthToSpace(2)

The vector unit then reads twelve values at a time instead of three, for (K+1)²/K² times the multiplications. It needs
an even height and width, and K = 1 mod 4, so that the kernel begins at a block.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Convolution, Declined, Layer, Rule, Tape, initializer, read_convolution, spatial

KIND = "few-inputs"
MAX_INPUTS = 4
MIN_KERNEL = 5


class FewInputs(Rule):
    anchors = ("Conv",)

    def plan(self, node: ir.Node) -> Convolution | None:
        read = read_convolution(node)
        if read is None or read.weight.shape[1] > MAX_INPUTS or max(read.weight.shape[2:]) < MIN_KERNEL:
            return None
        size, (kernel, half) = spatial(node.inputs[0]), (read.weight.shape[2], read.weight.shape[2] // 2)
        if self.context.choose(Layer(KIND, (*read.weight.shape, *(size or (0, 0))))) == "plain":
            return None
        if read.group != 1 or read.strides != (1, 1) or read.dilated or read.weight.shape[2] != read.weight.shape[3]:
            raise Declined("it is grouped, strided, dilated, or its kernel is not square")
        if kernel % 4 != 1 or read.pads not in ((half,) * 4, (0,) * 4):
            raise Declined("its kernel does not begin at a block of 2x2 pixels")
        if size is None or size[0] % 2 or size[1] % 2:
            raise Declined(f"phase form needs an even height and width, not {size or 'any'}")
        return read

    def apply(self, op: Tape, node: ir.Node, plan: Convolution) -> tuple[ir.Value, str]:
        outputs, inputs, kernel = plan.weight.shape[:3]
        blocks = kernel // 2 + 1
        # Row 2i + a of the result reads row 2(i + r) + u, which is tap 2r + u - a of the kernel.
        spread = np.zeros((outputs, 2, 2, inputs, 2 * blocks, 2 * blocks), np.float32)
        for a in (0, 1):
            for b in (0, 1):
                spread[:, a, b, :, a : a + kernel, b : b + kernel] = plan.weight
        weight = spread.reshape(outputs, 2, 2, inputs, blocks, 2, blocks, 2).transpose(0, 1, 2, 5, 7, 3, 4, 6)
        flat = weight.reshape(outputs * 4, 4 * inputs, blocks, blocks)
        parts = [initializer(op, flat, f"{node.name}.phase.weight")]
        if plan.bias is not None:
            parts.append(initializer(op, np.repeat(plan.bias, 4), f"{node.name}.phase.bias"))
        pads = [pad // 2 for pad in plan.pads]
        blocks_in = op.SpaceToDepth(node.inputs[0], blocksize=2, _name=f"{node.name}.blocks")
        phases = op.Conv(blocks_in, *parts, pads=pads, _name=node.name)
        return op.DepthToSpace(phases, blocksize=2, mode="CRD", _name=f"{node.name}.interleave"), "phase form"
