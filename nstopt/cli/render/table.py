"""The two kinds of table that the terminal shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rich.table import Table


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values, without headings."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def table(*headings: str, title: str = "", caption: str = "", fold: bool = False) -> Table:
    """Return an empty table with these headings. A heading that starts with `>` aligns its column to the right. Cells
    that are too long are cut; with `fold`, those of the first column are folded instead."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        header_style="dim",
        box=None,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    for number, heading in enumerate(headings):
        side: Literal["left", "right"] = "right" if heading.startswith(">") else "left"
        folds = fold and number == 0
        made.add_column(
            heading.removeprefix(">"), justify=side, no_wrap=not folds, overflow="fold" if folds else "ellipsis"
        )
    return made
