"""A projected latency, marked as what it is."""

from __future__ import annotations

import msgspec

from nstopt.pictures.size import Size

# The target of a projection for the machine that the run was on.
HERE = "here"


class Projected(msgspec.Struct, frozen=True):
    """A latency that nobody measured: computed for a device that is not here, as a range. See projection.py."""

    net: str
    target: str
    device: str
    backend: str
    precision: str
    height: int
    width: int
    batch: int
    low_ms: float
    high_ms: float
    memory_mib: float

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)

    @property
    def middle_ms(self) -> float:
        """The middle of the range by ratio, for comparing it with something measured and for the place of a mark."""
        return float((self.low_ms * self.high_ms) ** 0.5)
