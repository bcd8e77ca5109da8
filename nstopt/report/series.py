"""Group records and projections of all runs of a report by net, and into series of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nstopt.errors import NstoptError
from nstopt.pictures.size import Size
from nstopt.runs.layers import Layers
from nstopt.runs.projected import Projected
from nstopt.runs.record import Record
from nstopt.runs.run_file import RunFile

REFERENCE = Size(512, 512)


class Point(NamedTuple):
    """A latency at a size, in milliseconds per batch: measured (low = high), or projected as a range."""

    size: Size
    batch: int
    low_ms: float
    high_ms: float

    @property
    def pixels(self) -> int:
        return self.size.height * self.size.width

    @property
    def middle_ms(self) -> float:
        """Geometric mean of the range: the place of its marker, in the middle of a logarithmic axis."""
        return float((self.low_ms * self.high_ms) ** 0.5)


@dataclass(frozen=True)
class Series:
    """Points of one way to run a net, ordered by size. `kind` is engine, peer or projected."""

    name: str
    kind: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class NetResults:
    """Everything that was measured or projected of one net."""

    name: str
    family: str
    records: tuple[Record, ...]
    projected: tuple[Projected, ...]
    layers: tuple[Layers, ...]

    def series(self) -> list[Series]:
        """Return the series: engines first, then peers, then projections."""
        found: dict[tuple[str, str], list[Point]] = {}
        several = len({record.device for record in self.records}) > 1
        for record in self.records:
            name = f"{record.label} (peer)" if record.is_peer else f"{record.backend} {record.precision}"
            name += f", {record.device}" if several else ""
            key = (name + (f" x {record.batch}" if record.batch > 1 else ""), "peer" if record.is_peer else "engine")
            ms = record.latency_ms.p50
            found.setdefault(key, []).append(Point(record.size, record.batch, ms, ms))
        for one in self.projected:
            batch = f" x {one.batch}" if one.batch > 1 else ""
            name = f"{one.device} {one.precision}{batch}, projected"
            found.setdefault((name, "projected"), []).append(Point(one.size, one.batch, one.low_ms, one.high_ms))
        order = ("engine", "peer", "projected")
        made = [
            Series(name, kind, tuple(sorted(points, key=lambda point: point.pixels)))
            for (name, kind), points in found.items()
        ]
        return sorted(made, key=lambda one: order.index(one.kind))

    def reference_size(self) -> Size:
        """Return the size that single figures are given for: 512x512, or else the largest that was measured."""
        sizes = {record.size for record in self.records}
        return REFERENCE if REFERENCE in sizes else max(sizes, key=lambda size: size.height * size.width)


def nets(runs: Sequence[RunFile]) -> list[NetResults]:
    """Group all runs by net, in the order in which nets were measured.

    Raises NstoptError if two nets have the same name, since their figures would be mixed up.
    """
    records = [record for run in runs for record in run.records]
    names = dict.fromkeys(record.net for record in records)
    files = {(record.net, record.net_sha256) for record in records}
    for name in names:
        if sum(net == name for net, _ in files) > 1:
            raise NstoptError(f"the runs have two different nets called {name}: report them separately")
    return [
        NetResults(
            name=name,
            family=next(record.family for record in records if record.net == name),
            records=tuple(record for record in records if record.net == name),
            projected=tuple(one for run in runs for one in run.projected if one.net == name),
            layers=tuple(_layers(name, runs)),
        )
        for name in names
    ]


def _layers(net: str, runs: Iterable[RunFile]) -> Iterable[Layers]:
    for run in runs:
        engines = {record.sha256 for record in run.records if record.net == net and not record.is_peer}
        yield from (layers for layers in run.layers if layers.sha256 in engines)


def pareto(records: Iterable[Record]) -> list[Record]:
    """Return the records that no other one beats in both speed and PSNR, fastest first."""
    front: list[Record] = []
    for record in sorted(records, key=lambda one: (one.latency_ms.p50, -(one.psnr_db or 0.0))):
        if not front or (record.psnr_db or 0.0) > (front[-1].psnr_db or 0.0):
            front.append(record)
    return front
