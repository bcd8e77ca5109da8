"""A wide 3x3 convolution with 2.25 times fewer multiplications: Winograd's F(2x2, 3x3), written out as operators.

    x ─ Conv 3x3, C → D   ⇒   x ─ Pad ─ 16 strided Slices ─ Bᵀ d B ─ 16 Conv 1x1, C → D ─ Aᵀ m A ─ DepthToSpace(2)

A 2x2 block of the result needs the 4x4 pixels around it. Sixteen sums of those, one 1x1 convolution on each, and four
sums of sums give it. (Lavin and Gray 2016, arXiv:1509.09308, section 4.1.) It trades multiplications for memory
traffic, so whether it pays is for measuring to say; and only in FP32, since INT8 would round the sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import ir

from nstopt.graph.rule import Convolution, Layer, Rule, Tape, initializer, read_convolution, spatial

KIND = "wide-conv"
MIN_CHANNELS = 64
# Rows of Bᵀ as (operator, row, row), and G: what becomes of four pixels, and of three weights, along one axis.
SUMS = (("Sub", 0, 2), ("Add", 1, 2), ("Sub", 2, 1), ("Sub", 1, 3))
WEIGHTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)


class Winograd(Rule):
    anchors = ("Conv",)

    def plan(self, node: ir.Node) -> Convolution | None:
        read, size = read_convolution(node), spatial(node.outputs[0])
        if read is None or read.weight.shape[2:] != (3, 3) or min(read.weight.shape[:2]) < MIN_CHANNELS:
            return None
        if read.group != 1 or read.strides != (1, 1) or read.dilated or size is None or size[0] % 2 or size[1] % 2:
            return None
        form = self.context.choose(Layer(KIND, (*read.weight.shape, *size)))
        return None if form == "plain" else read

    def apply(self, op: Tape, node: ir.Node, plan: Convolution) -> tuple[ir.Value, str]:
        name, size = node.name, spatial(node.outputs[0])
        assert size is not None

        def known(values: Any, what: str) -> ir.Value:
            return initializer(op, np.asarray(values), f"{name}.{what}")

        source = node.inputs[0]
        if any(plan.pads):
            top, left, bottom, right = plan.pads
            source = op.Pad(source, known([0, 0, top, left, 0, 0, bottom, right], "pads"), mode="constant")
        axes, steps = known([2, 3], "axes"), known([2, 2], "steps")
        pixels = [
            [
                op.Slice(
                    source,
                    known([y, x], f"begin.{y}{x}"),
                    known([y + size[0] - 1, x + size[1] - 1], f"end.{y}{x}"),
                    axes,
                    steps,
                )
                for x in range(4)
            ]
            for y in range(4)
        ]
        rows = [[getattr(op, kind)(pixels[a][x], pixels[b][x]) for x in range(4)] for kind, a, b in SUMS]
        sums = [[getattr(op, kind)(row[a], row[b]) for kind, a, b in SUMS] for row in rows]
        kernels = np.einsum("ay,bx,oiyx->aboi", WEIGHTS, WEIGHTS, plan.weight).astype(np.float32)[..., None, None]
        products = [
            [op.Conv(sums[y][x], known(kernels[y, x], f"weight.{y}{x}"), _name=f"{name}.{y}{x}") for x in range(4)]
            for y in range(4)
        ]
        columns = [_fold(op, [products[y][x] for y in range(4)]) for x in range(4)]
        phases = [_fold(op, [columns[x][a] for x in range(4)]) for a in (0, 1)]
        together = op.Concat(*(phases[a][b] for a in (0, 1) for b in (0, 1)), axis=1)
        result = op.DepthToSpace(together, blocksize=2, mode="DCR", _name=f"{name}.interleave")
        if plan.bias is not None:
            result = op.Add(result, known(plan.bias.reshape(1, -1, 1, 1), "bias"))
        return result, "winograd form"


def _fold(op: Tape, four: list[ir.Value]) -> tuple[ir.Value, ir.Value]:
    """Aᵀ along one axis: two results of four products."""
    return op.Add(op.Add(four[0], four[1]), four[2]), op.Sub(op.Sub(four[1], four[2]), four[3])
