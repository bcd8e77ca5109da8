"""Render the contenders for the fastest engine of a net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from nstopt.cli.render.table import table

if TYPE_CHECKING:
    from nstopt.bench.fastest import Contender

UNKNOWN = "–"


def contender_table(contenders: Sequence[Contender]) -> Table:
    """Return the contenders that were timed, with their time, quality and memory. Those that no other one beats in both
    time and quality are on the Pareto front. `contenders` has the fastest first."""
    made = table("engine", ">ms", ">dB mean", ">worst", ">MiB", "front", "", title="Engines on this machine")
    best_db = float("-inf")
    for one in contenders:
        if one.latency_ms is None:
            continue
        db = one.quality.psnr_db_mean if one.quality else None
        is_on_front = db is not None and db > best_db
        best_db = max(best_db, db) if db is not None else best_db
        made.add_row(
            str(one),
            f"{one.latency_ms:.1f}",
            UNKNOWN if one.quality is None else f"{one.quality.psnr_db_mean:.1f}",
            UNKNOWN if one.quality is None else f"{one.quality.psnr_db_worst:.1f}",
            UNKNOWN if one.peak_mib is None else f"{one.peak_mib:.0f}",
            "yes" if is_on_front else "",
            "" if one.reason else "kept",
            style=None if one.reason else "bold",
        )
    return made
