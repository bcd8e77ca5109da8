"""Render what was measured of live sessions."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from nstopt.bench.live import LiveFigures
from nstopt.bench.live_load import LATENCY_MOVED, MEMORY_MOVED, LoadReport
from nstopt.cli.render.run import STYLES
from nstopt.cli.render.table import table


def live_table(name: str, rows: Sequence[LiveFigures]) -> Table:
    """Return the times of a frame's steps, and the rates."""
    title = f"\n{name}: a camera that takes 33 ms for a frame (simulated), medians"
    caption = "Rest: colors, size, and a JPEG file for the display; in nstopt live the former belong to the capture."
    made = table(
        "", ">capture ms", ">net ms", ">rest ms", ">FPS", ">latency ms", title=title, caption=caption, fold=True
    )
    for row in rows:
        latency = "" if row.latency_ms is None else f"{row.latency_ms:.0f}"
        made.add_row(
            row.name, f"{row.capture_ms:.1f}", _span(*row.net_ms), f"{row.rest_ms:.1f}", _span(*row.fps), latency
        )
    return made


def load_table(name: str, report: LoadReport) -> Table:
    """Return the windows of a load test, and whether they stay the same."""
    title = (
        f"\n{name} with {report.camera_fps:.0f} frames a second from its camera, {report.visits} visits, "
        "and a viewer who does not read"
    )
    verdict = (
        f"From the first to the last: 99th percentile {report.latency_moved:+.1%} (limit {LATENCY_MOVED:.0%}), "
        f"memory {report.memory_moved:+.1%} (limit {MEMORY_MOVED:.0%})."
    )
    made = table(">part", ">frames", ">FPS", ">p50 ms", ">p99 ms", ">MiB", ">", title=title, caption=verdict)
    for number, window in enumerate(report.windows, start=1):
        is_last = number == len(report.windows)
        flat = Text("flat" if report.is_flat else "not flat", style=STYLES[report.is_flat]) if is_last else ""
        made.add_row(
            str(number), str(window.frames), f"{window.fps:.1f}", f"{window.p50_ms:.0f}", f"{window.p99_ms:.0f}",
            f"{window.memory_mib:.0f}", flat,
        )  # fmt: skip
    return made


def _span(low: float, high: float) -> str:
    return f"{low:.1f}" if low == high else f"{low:.1f}–{high:.1f}"
