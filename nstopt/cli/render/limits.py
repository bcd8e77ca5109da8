"""Render measurements beside their limits: start-up figures, and a run beside its baseline."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from nstopt.bench.startup import Startup
from nstopt.cli.render.run import STYLES, machine_text
from nstopt.cli.render.table import table
from nstopt.report.regression import Change


def startup_report(startup: Startup) -> RenderableType:
    """Return the start-up figures and their limits."""
    title = f"\nStart-up with {startup.bundle}, medians of fresh processes"
    made = table("", ">measured", ">limit", ">", title=title, fold=True)
    for measure in startup.measures:
        digits = 0 if measure.unit == "MiB" else 2
        value, limit = (f"{number:.{digits}f} {measure.unit}" for number in (measure.value, measure.limit))
        made.add_row(measure.what, value, limit, Text("ok" if measure.within else "over", style=STYLES[measure.within]))
    return Group(machine_text(startup.machine), made)


def baseline_table(changes: Sequence[Change], tolerance: float) -> RenderableType:
    """Return each case's median time in the baseline and now. A slowdown beyond `tolerance` and the noise is red."""
    title = f"\nAgainst the baseline: time then and now, ms; slower beyond {tolerance:.0%} and the noise is red"
    made = table("", ">then", ">now", ">now/then", ">95%", title=title, fold=True)
    for change in changes:
        old, new = change.old.latency_ms.p50, change.new.latency_ms.p50
        ratio = change.slowdown
        verdict = Text(f"{ratio.value:.3f}", style="red" if change.is_regression(tolerance) else "green")
        name = f"{change.new.label.removesuffix('.nst')} at {change.new.size}"
        made.add_row(name, f"{old:.1f}", f"{new:.1f}", verdict, f"{ratio.low:.3f}–{ratio.high:.3f}")
    return made
