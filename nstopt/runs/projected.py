"""Projected latencies, kept apart from measured ones."""

from __future__ import annotations

import msgspec

from nstopt.pictures.size import Size

# The target that stands for the machine the run was measured on.
HERE = "here"


class Projected(msgspec.Struct, frozen=True):
    """A computed latency range of a net on a device, never measured. See nstopt/projection/model.py.

    `target` is the name the user gave, `device` the full name. `low_ms` and `high_ms` are milliseconds for a whole
    batch. `memory_mib` is a lower bound in MiB.
    """

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
        """Geometric mean of the range: compared with measurements."""
        return float((self.low_ms * self.high_ms) ** 0.5)
