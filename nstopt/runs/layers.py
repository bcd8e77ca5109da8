"""Kernels of an engine: measured time of each, and its floor, the shortest time this device could take."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from nstopt.graph.work import Work
from nstopt.limits import Count, Duration, Rate, Text
from nstopt.runs.record import CaseKey

# A kernel that is faster than this share of its floor casts doubt on the floor.
BELOW_FLOOR = 0.8


class Bandwidth(msgspec.Struct, frozen=True):
    """Best memory rate of a layer that moves `bytes_moved` bytes, read and written together."""

    bytes_moved: Annotated[int, msgspec.Meta(ge=1, le=1 << 50)]
    bytes_per_ms: Rate


class Peaks(msgspec.Struct, frozen=True):
    """Best rates of a device. The rate of a type is None if the backend does not multiply in it."""

    fp32_macs_per_ms: Rate
    int8_macs_per_ms: Rate | None
    bandwidths: Annotated[tuple[Bandwidth, ...], msgspec.Meta(min_length=1)]
    bf16_macs_per_ms: Rate | None = None

    def macs_per_ms(self, type_: str) -> float:
        """Return the rate of a type, or of FP32, in which a device computes what it has no arithmetic for."""
        rates = {"int8": self.int8_macs_per_ms, "bf16": self.bf16_macs_per_ms}
        return rates.get(type_) or self.fp32_macs_per_ms

    def floor_ms(self, work: Work) -> float:
        """Return the shortest time for `work` in milliseconds: multiplying or moving, whichever takes longer.

        The bandwidth is the one measured nearest to the bytes moved, on a logarithmic scale.
        """
        nearest = min(self.bandwidths, key=lambda one: abs(math.log(one.bytes_moved / max(work.bytes_moved, 1))))
        return max(work.macs / self.macs_per_ms(work.type), work.bytes_moved / nearest.bytes_per_ms)


class LayerRow(msgspec.Struct, frozen=True):
    """One kernel: median milliseconds, and its floor, None for a kernel that no layer of the graph asked for."""

    name: Text
    kind: Text
    ms: Duration
    floor_ms: Duration | None

    @property
    def gap_ms(self) -> float:
        """Milliseconds that could be saved at most."""
        return max(self.ms - (self.floor_ms or 0.0), 0.0)


class Layers(CaseKey, frozen=True):
    """All kernels of an engine, in execution order."""

    backend: Text
    runs: Count
    peaks: Peaks
    rows: Annotated[tuple[LayerRow, ...], msgspec.Meta(min_length=1)]

    @property
    def doubt(self) -> str:
        """A note if the floors cannot be right, else empty. Noise can bring a kernel slightly below its floor."""
        count = sum(row.floor_ms is not None and row.ms < row.floor_ms * BELOW_FLOOR for row in self.rows)
        if not count:
            return ""
        return (
            f"{count} of {len(self.rows)} kernels took less than their floor: either other work slowed down the "
            "measurement of the peak rates, or these kernels multiply less than the graph says"
        )

    @property
    def next_to_attack(self) -> list[LayerRow]:
        """The rows, largest gap first."""
        return sorted(self.rows, key=lambda row: -row.gap_ms)
