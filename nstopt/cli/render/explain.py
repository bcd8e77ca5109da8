"""What the rewrites make of a graph, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nstopt.graph.cost import LayerCost
from nstopt.pipeline.explain import Change, Effect, Explanation

SHOWN_NAMES = 4
ABSENT = "–"


def render(explanation: Explanation) -> RenderableType:
    """For a terminal of 80 columns: totals, changed layers, rules."""
    parts: list[RenderableType] = [
        _title(explanation.title),
        _totals(explanation),
        Text("MB: what each layer reads and writes, added up; a backend that fuses layers moves less", style="dim"),
    ]
    if explanation.changes:
        parts += [_title("Layers that changed"), _changed(explanation.changes)]
    if explanation.effects:
        parts += [_title("Rules"), *_rules(explanation.effects)]
    return Group(*parts)


def _totals(explanation: Explanation) -> Table:
    table = _table("", ">before", ">after", ">change")
    before, after = explanation.before, explanation.after
    table.add_row("layers", str(before.layers), str(after.layers), _percent(before.layers, after.layers))
    table.add_row("GMAC", _giga(before.macs), _giga(after.macs), _percent(before.macs, after.macs))
    moved = before.bytes_moved, after.bytes_moved
    table.add_row("MB moved", *map(_mega, moved), _percent(*moved))
    return table


def _changed(changes: Iterable[Change]) -> Table:
    table = _table("", "before", ">GMAC", ">MB", "after", ">GMAC", ">MB")
    for change in changes:
        table.add_row(Text(change.name), *_cells(change.before), *_cells(change.after))
    return table


def _cells(layer: LayerCost | None) -> tuple[str, str, str]:
    if layer is None:
        return (ABSENT, "", "")
    macs = _giga(layer.work.macs) if layer.work.macs else ""
    return (layer.op, macs, _mega(layer.work.bytes_moved))


def _rules(effects: Iterable[Effect]) -> Iterable[Text]:
    for effect in effects:
        count = len(effect.layers)
        names = ", ".join(effect.layers[:SHOWN_NAMES]) + (", …" if count > SHOWN_NAMES else "")
        did = "applied to" if effect.applied else "declined"
        text = f"{effect.rule} {did} {count} layer{'s' * (count > 1)}: {effect.reason} ({names})"
        yield Text(text, style="" if effect.applied else "dim")


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _table(*headings: str) -> Table:
    """`>` before a heading aligns its column to the right."""
    table = Table(header_style="dim", box=None, padding=(0, 0, 0, 1), pad_edge=False)
    for heading in headings:
        side: Literal["left", "right"] = "right" if heading.startswith(">") else "left"
        table.add_column(heading.removeprefix(">"), justify=side, no_wrap=True, overflow="ellipsis")
    return table


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.2f}"


def _mega(count: int) -> str:
    return f"{count / 1e6:.1f}"


def _percent(before: int, after: int) -> str:
    return f"{(after - before) / before:+.0%}" if before else ""
