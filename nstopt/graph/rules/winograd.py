"""Compute a wide 3x3 convolution with 2.25 times fewer multiplications: Winograd's F(2x2, 3x3), written as operators.

    x ─ Conv 3x3, C → D   ⇒   x ─ Pad ─ 16 strided Slices ─ Bᵀ d B ─ 16 Conv 1x1, C → D ─ Aᵀ m A ─ DepthToSpace(2)

A 2x2 block of the result depends on the 4x4 pixels around it. Bᵀ d B makes sixteen sums of these. Each sum passes a 1x1
convolution, and Aᵀ m A adds the products up to the block (Lavin and Gray 2016, arXiv:1509.09308, section 4.1). The form
trades multiplications for memory traffic, so only a measurement can choose it. It is for FP32 only, since INT8 would
round the sums.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnxscript import ir

from nstopt.graph.reading import Convolution, read_convolution, spatial
from nstopt.graph.rule import PLAIN, Layer, Rule, Tape, initializer

KIND = "wide-conv"
MIN_CHANNELS = 64
# Rows of Bᵀ as (operator, row, row); G, which transforms the three weights of one axis.
SUMS = (("Sub", 0, 2), ("Add", 1, 2), ("Sub", 2, 1), ("Sub", 1, 3))
WEIGHTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)

Grid = list[list[ir.Value]]


class Match(NamedTuple):
    """`size` is (height, width) of the result."""

    conv: Convolution
    size: tuple[int, int]


class Winograd(Rule):
    anchors = ("Conv",)

    def match(self, node: ir.Node) -> Match | None:
        conv, size = read_convolution(node), spatial(node.outputs[0])
        if conv is None or conv.weight.shape[2:] != (3, 3) or min(conv.weight.shape[:2]) < MIN_CHANNELS:
            return None
        if not conv.is_basic or size is None or size[0] % 2 or size[1] % 2:
            return None
        form = self.context.choose(Layer.of(KIND, conv.weight.shape, size))
        return None if form == PLAIN else Match(conv, size)

    def replace(self, op: Tape, node: ir.Node, match: Match) -> tuple[ir.Value, str]:
        pixels = _pixels(op, node, match)
        rows = [[getattr(op, kind)(pixels[a][x], pixels[b][x]) for x in range(4)] for kind, a, b in SUMS]
        sums = [[getattr(op, kind)(row[a], row[b]) for kind, a, b in SUMS] for row in rows]
        products = _products(op, node, match.conv, sums)
        columns = [_fold(op, [products[y][x] for y in range(4)]) for x in range(4)]
        phases = [_fold(op, [columns[x][a] for x in range(4)]) for a in (0, 1)]
        together = op.Concat(*phases[0], *phases[1], axis=1)
        result = op.DepthToSpace(together, blocksize=2, mode="DCR", _name=f"{node.name}.interleave")
        if match.conv.bias is not None:
            result = op.Add(result, initializer(op, node, match.conv.bias.reshape(1, -1, 1, 1), "bias"))
        return result, "winograd form"


def _pixels(op: Tape, node: ir.Node, match: Match) -> Grid:
    """Add the Slices d: element [y][x] holds pixel (y, x) of the 4x4 pixels of all blocks."""
    source, (height, width) = node.inputs[0], match.size
    if any(match.conv.pads):
        top, left, bottom, right = match.conv.pads
        amounts = initializer(op, node, [0, 0, top, left, 0, 0, bottom, right], "pads")
        source = op.Pad(source, amounts, mode="constant")
    axes, steps = initializer(op, node, [2, 3], "axes"), initializer(op, node, [2, 2], "steps")

    def pixel(y: int, x: int) -> ir.Value:
        begin = initializer(op, node, [y, x], f"begin.{y}{x}")
        end = initializer(op, node, [y + height - 1, x + width - 1], f"end.{y}{x}")
        return op.Slice(source, begin, end, axes, steps)

    return [[pixel(y, x) for x in range(4)] for y in range(4)]


def _products(op: Tape, node: ir.Node, conv: Convolution, sums: Grid) -> Grid:
    """Add the 1x1 convolutions of the sums, with the weights G g Gᵀ."""
    weights = np.einsum("ay,bx,oiyx->aboi", WEIGHTS, WEIGHTS, conv.weight).astype(np.float32)[..., None, None]

    def product(y: int, x: int) -> ir.Value:
        weight = initializer(op, node, weights[y, x], f"weight.{y}{x}")
        return op.Conv(sums[y][x], weight, _name=f"{node.name}.{y}{x}")

    return [[product(y, x) for x in range(4)] for y in range(4)]


def _fold(op: Tape, four: list[ir.Value]) -> tuple[ir.Value, ir.Value]:
    """Add Aᵀ along one axis: two results of four products."""
    return op.Add(op.Add(four[0], four[1]), four[2]), op.Sub(op.Sub(four[1], four[2]), four[3])
