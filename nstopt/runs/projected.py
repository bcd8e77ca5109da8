"""Projected latencies, kept apart from measured ones."""

from __future__ import annotations

import msgspec

from nstopt.limits import Batch, Latency, Mebibytes, Name, Side, Text
from nstopt.pictures.size import Size

# The target that stands for the machine the run was measured on.
HERE = "here"


class Projected(msgspec.Struct, frozen=True):
    """A computed latency range of a net on a device, never measured. See nstopt/projection/model.py.

    `target` is the name the user gave, `device` the full name. `low_ms` and `high_ms` are milliseconds for a whole
    batch. `memory_mib` is a lower bound in MiB.
    """

    net: Name
    target: Text
    device: Text
    backend: Text
    precision: Text
    height: Side
    width: Side
    batch: Batch
    low_ms: Latency
    high_ms: Latency
    memory_mib: Mebibytes

    @property
    def size(self) -> Size:
        return Size(self.height, self.width)

    @property
    def middle_ms(self) -> float:
        """Geometric mean of the range: compared with measurements."""
        return float((self.low_ms * self.high_ms) ** 0.5)
