"""What a row is set against: real time, and the published figures of the system this project wants to beat.

A published figure is another net on another device, marked so wherever it is shown; it says how far there was to go,
not how the machines compare.
"""

from __future__ import annotations

from typing import NamedTuple

from nstopt.bench.record import Record
from nstopt.size import Size

REAL_TIME_FPS = (30, 60)


class Published(NamedTuple):
    """Milliseconds that somebody reported for one picture, and as what they were reported."""

    title: str
    latency_ms: float
    what: str


PUBLISHED_SIZE = Size(512, 512)
PUBLISHED_SOURCE = "published in a student's report, not measured here: ReCoNet + FRN/TLU, PyTorch, GTX 1060, 512x512"
PUBLISHED = (
    Published("65 ms", 65.0, "the net alone"),
    Published("8 FPS", 125.0, "its camera loop, capture and display included"),
)
NOT_COMPARED = "–"


class Column(NamedTuple):
    """One comparison of one record. `reached` is None where nothing is compared."""

    title: str
    cell: str
    reached: bool | None


def columns(record: Record) -> tuple[Column, ...]:
    """Real time: "yes", or the fraction of the wanted FPS that was reached. Published, at its size only: how many
    times faster a picture of this record is. The same titles for every record."""
    real_time = [_real_time(record, fps) for fps in REAL_TIME_FPS]
    return (*real_time, *(_against(record, figure) for figure in PUBLISHED))


def caption() -> str:
    """Says what the published columns are."""
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


def span(low: float, high: float) -> str:
    """A projected range with digits enough that its ends differ: 0.20–0.23, 2.5–4.8, 207–396."""
    digits = 2 if low < 1 else 1 if low < 10 else 0
    return f"{low:.{digits}f}–{high:.{digits}f}"


def times(ratio: float) -> str:
    """A ratio with two digits that matter: 0.27×, 3.4×, 12×. Rounded down below 1, so that "1×" means reached."""
    if ratio < 1:
        return f"{int(ratio * 100) / 100:.2f}×"
    return f"{ratio:.1f}×" if ratio < 10 else f"{ratio:.0f}×"
