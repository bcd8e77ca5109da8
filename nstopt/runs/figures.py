"""Formatting of figures in tables and sentences."""

from __future__ import annotations

NOT_COMPARED = "–"


def span(low: float, high: float) -> str:
    """Format a range with enough digits to tell its ends apart: 0.20–0.23, 2.5–4.8, 207–396."""
    digits = 2 if low < 1 else 1 if low < 10 else 0
    return f"{low:.{digits}f}–{high:.{digits}f}"


def times(ratio: float) -> str:
    """Format a ratio with two significant digits: 0.27×, 3.4×, 12×.

    Ratios below 1 are rounded down, so that "1.0×" is shown only where it was reached.
    """
    if ratio < 1:
        return f"{int(ratio * 100) / 100:.2f}×"
    return f"{ratio:.1f}×" if ratio < 10 else f"{ratio:.0f}×"
