"""Render the results of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from nstopt.cli.render.table import table

if TYPE_CHECKING:
    from nstopt.train.student import StudentComparison


def loss_line(losses: dict[str, float]) -> str:
    """Return the losses in one line, such as `loss 0.7305 (content 0.4575, style 0.2403)`."""
    parts = ", ".join(f"{name} {value:.4f}" for name, value in losses.items() if name != "total")
    return f"loss {losses['total']:.4f} ({parts})"


def student_table(found: StudentComparison) -> Table:
    """Return the work and time of teacher and student, and their ratios."""
    made = table(f"FP32 at {found.size}", ">GMAC", ">ms")
    for one in (found.teacher, found.student):
        made.add_row(one.net, f"{one.gmac:.2f}", f"{one.latency_ms:.1f}")
    ratios = found.teacher.gmac / found.student.gmac, found.teacher.latency_ms / found.student.latency_ms
    made.add_row("less", *(f"{ratio:.1f}×" for ratio in ratios), style="bold")
    return made
