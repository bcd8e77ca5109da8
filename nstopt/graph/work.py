"""What one layer has to do at least: multiplications, and bytes in and out. Imports nothing, so that engines can say it
of their own kernels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple


class Work(NamedTuple):
    """`macs`: multiply-adds of convolutions and matrix products, 0 for all else. Bytes are those of the tensors,
    weights included, each counted once. `int8`: whether it multiplies 8-bit integers."""

    macs: int
    bytes_read: int
    bytes_written: int
    int8: bool = False

    @property
    def bytes_moved(self) -> int:
        return self.bytes_read + self.bytes_written


def convolution_macs(weight: Sequence[int], source: Sequence[int], out: Sequence[int], transposed: bool) -> int:
    """Multiply-adds of a convolution, grouped or not, from three shapes: its weights', and those of what it reads and
    writes, [N, C, H, W]. A convolution uses each weight once for every pixel of a channel it writes, a transposed one
    for every pixel that it reads; the few that fall on padding are counted too."""
    n, _, *pixels = source if transposed else out
    return prod(weight) * n * prod(pixels)
