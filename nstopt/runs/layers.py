"""The kernels of an engine: the measured time of each beside the shortest that this device could take."""

from __future__ import annotations

import math

import msgspec

from nstopt.graph.work import Work
from nstopt.pictures.size import Size

# A kernel that takes a smaller share of its floor puts the floor in doubt.
BELOW_FLOOR = 0.8


class Bandwidth(msgspec.Struct, frozen=True):
    """Bytes that a layer moved, read and written, and how many it moved a millisecond."""

    bytes_moved: int
    bytes_per_ms: float


class Peaks(msgspec.Struct, frozen=True):
    """Best rates. `int8_macs_per_ms` is None where the backend does not multiply INT8."""

    fp32_macs_per_ms: float
    int8_macs_per_ms: float | None
    bandwidths: tuple[Bandwidth, ...]

    def floor_ms(self, work: Work) -> float:
        """The shortest time for that work."""
        rate = self.int8_macs_per_ms if work.int8 and self.int8_macs_per_ms else self.fp32_macs_per_ms
        nearest = min(self.bandwidths, key=lambda one: abs(math.log(one.bytes_moved / max(work.bytes_moved, 1))))
        return max(work.macs / rate, work.bytes_moved / nearest.bytes_per_ms)


class LayerRow(msgspec.Struct, frozen=True):
    """One kernel: median milliseconds, and its floor, None where no layer of the graph asked for the kernel."""

    name: str
    kind: str
    ms: float
    floor_ms: float | None

    @property
    def gap_ms(self) -> float:
        """What could be gained at most."""
        return max(self.ms - (self.floor_ms or 0.0), 0.0)


class Layers(msgspec.Struct, frozen=True):
    """All kernels of an engine in the order in which they run."""

    label: str
    backend: str
    height: int
    width: int
    batch: int
    runs: int
    peaks: Peaks
    rows: tuple[LayerRow, ...]

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)

    @property
    def doubt(self) -> str:
        """A note if floors cannot be right, else empty. A little below its floor a kernel may come by noise."""
        count = sum(row.floor_ms is not None and row.ms < row.floor_ms * BELOW_FLOOR for row in self.rows)
        if not count:
            return ""
        return (
            f"{count} of {len(self.rows)} kernels took less than their floor: the rates were measured while other work "
            "held them up, or these kernels multiply less than the graph says"
        )

    @property
    def next_to_attack(self) -> list[LayerRow]:
        """The rows, largest gap first."""
        return sorted(self.rows, key=lambda row: -row.gap_ms)
