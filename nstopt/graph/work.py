"""Least work of a layer: multiply-adds, and bytes read and written. Imports nothing heavy, so that engines can describe
their own kernels in these terms."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple


class Work(NamedTuple):
    """Work of a layer.

    `macs`: multiply-adds of convolutions and matrix products, 0 for all other operators. Bytes are those of the tensors
    that the layer reads and writes, weights included, each counted once. `type`: the type that it multiplies in, fp32,
    bf16, fp16 or int8.
    """

    macs: int
    bytes_read: int
    bytes_written: int
    type: str = "fp32"

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written


def convolution_macs(weight: Sequence[int], source: Sequence[int], out: Sequence[int], transposed: bool) -> int:
    """Return the multiply-adds of a convolution, grouped or not.

    `weight`, `source` and `out` are the shapes of its weight, its input and its output, [N, C, H, W]. A convolution
    uses each weight once per pixel of an output channel, a transposed one once per pixel of an input channel. The few
    that fall on padding are counted too.
    """
    n, _, *pixels = source if transposed else out
    return prod(weight) * n * prod(pixels)
