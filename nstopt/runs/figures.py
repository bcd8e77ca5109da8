"""How figures are written in tables and sentences."""

from __future__ import annotations

NOT_COMPARED = "–"


def span(low: float, high: float) -> str:
    """A projected range with digits enough that its ends differ: 0.20–0.23, 2.5–4.8, 207–396."""
    digits = 2 if low < 1 else 1 if low < 10 else 0
    return f"{low:.{digits}f}–{high:.{digits}f}"


def times(ratio: float) -> str:
    """A ratio with two digits that matter: 0.27×, 3.4×, 12×. Rounded down below 1, so that "1×" means reached."""
    if ratio < 1:
        return f"{int(ratio * 100) / 100:.2f}×"
    return f"{ratio:.1f}×" if ratio < 10 else f"{ratio:.0f}×"
