"""Targets that records are compared with: real time, and published figures of the system this project wants to beat.

A published figure was measured with another net on another device, and is marked so wherever it is shown. It shows how
far there was to go, not how the machines compare.
"""

from __future__ import annotations

from typing import NamedTuple

from nstopt.pictures.size import Size
from nstopt.runs.figures import NOT_COMPARED, times
from nstopt.runs.record import Record

REAL_TIME_FPS = (30, 60)


class Published(NamedTuple):
    """Published milliseconds for one picture, and what they were published as."""

    title: str
    latency_ms: float
    what: str


PUBLISHED_SIZE = Size(512, 512)
PUBLISHED_SOURCE = "published in a student's report, not measured here: ReCoNet + FRN/TLU, PyTorch, GTX 1060, 512x512"
PUBLISHED = (
    Published("65 ms", 65.0, "the net alone"),
    Published("8 FPS", 125.0, "its camera loop, capture and display included"),
)


class Column(NamedTuple):
    """One comparison of one record. `reached` is None if nothing is compared."""

    title: str
    cell: str
    reached: bool | None


def columns(record: Record) -> tuple[Column, ...]:
    """Compare a record with all targets; the titles are the same for every record.

    Real time: "yes", or the fraction of the wanted FPS. Published figures, at their size only: speed ratio.
    """
    real_time = [_real_time(record, fps) for fps in REAL_TIME_FPS]
    return (*real_time, *(_against(record, figure) for figure in PUBLISHED))


def caption() -> str:
    """Return the sentence that explains the published columns."""
    figures = ", ".join(f"{figure.title} ({figure.what})" for figure in PUBLISHED)
    return f"* {figures}: {PUBLISHED_SOURCE}"


def _real_time(record: Record, fps: int) -> Column:
    share = record.fps / fps
    return Column(f"{fps} FPS", "yes" if share >= 1 else times(share), share >= 1)


def _against(record: Record, figure: Published) -> Column:
    if record.size != PUBLISHED_SIZE:
        return Column(f"*{figure.title}", NOT_COMPARED, None)
    ratio = figure.latency_ms * record.fps / 1000
    return Column(f"*{figure.title}", times(ratio), ratio >= 1)
