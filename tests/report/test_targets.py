"""Records against real time and published figures."""

from __future__ import annotations

import pytest
from made import MakeRecord

from nstopt.report.targets import caption, columns
from nstopt.runs.figures import span, times


def test_a_row_at_the_published_size(make_record: MakeRecord) -> None:
    cells = {column.title: (column.cell, column.reached) for column in columns(make_record((25.0,), fps=40.0))}
    assert cells == {
        "30 FPS": ("yes", True),
        "60 FPS": ("0.66×", False),
        "*65 ms": ("2.6×", True),
        "*8 FPS": ("5.0×", True),
    }


def test_published_figures_hold_at_their_size_only(make_record: MakeRecord) -> None:
    cells = [(column.cell, column.reached) for column in columns(make_record(height=256))]
    assert cells[2:] == [("–", None), ("–", None)]


def test_the_caption_names_the_source_of_the_figures() -> None:
    assert "65 ms (the net alone), 8 FPS (its camera loop" in caption()
    assert "published in a student's report, not measured here" in caption()
    assert "GTX 1060" in caption()


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.999, "0.99×"), (0.05, "0.05×"), (1.0, "1.0×"), (5.26, "5.3×"), (12.4, "12×")]
)
def test_ratios_have_two_digits(ratio: float, text: str) -> None:
    assert times(ratio) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.198, 0.235, "0.20–0.23"), (0.9, 1.6, "0.90–1.60"), (2.5, 4.8, "2.5–4.8"), (47.6, 111.1, "48–111")],
)
def test_the_ends_of_a_range_can_be_told_apart(low: float, high: float, text: str) -> None:
    assert span(low, high) == text
