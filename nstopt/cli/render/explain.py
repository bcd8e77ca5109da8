"""Render the effect of the rewrites on a graph."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nstopt.cli.render.table import table
from nstopt.graph.cost import LayerCost
from nstopt.pipeline.explain import Change, Effect, Explanation

SHOWN_NAMES = 4
ABSENT = "–"


def rewrite_report(explanation: Explanation) -> RenderableType:
    """Return totals, changed layers and rules, 80 columns wide at most."""
    parts: list[RenderableType] = [
        _title(explanation.title),
        _totals(explanation),
        Text("MB: sum of what each layer reads and writes; a backend that fuses layers moves less", style="dim"),
    ]
    if explanation.changes:
        parts += [_title("Layers that changed"), _changed(explanation.changes)]
    if explanation.effects:
        parts += [_title("Rules"), *_rules(explanation.effects)]
    return Group(*parts)


def _totals(explanation: Explanation) -> Table:
    made = table("", ">before", ">after", ">change")
    before, after = explanation.before, explanation.after
    made.add_row("layers", str(before.layers), str(after.layers), _percent(before.layers, after.layers))
    made.add_row("GMAC", _giga(before.macs), _giga(after.macs), _percent(before.macs, after.macs))
    moved = before.bytes_moved, after.bytes_moved
    made.add_row("MB moved", *map(_mega, moved), _percent(*moved))
    return made


def _changed(changes: Iterable[Change]) -> Table:
    made = table("", "before", ">GMAC", ">MB", "after", ">GMAC", ">MB")
    for change in changes:
        made.add_row(Text(change.name), *_cells(change.before), *_cells(change.after))
    return made


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


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.2f}"


def _mega(count: int) -> str:
    return f"{count / 1e6:.1f}"


def _percent(before: int, after: int) -> str:
    return f"{(after - before) / before:+.0%}" if before else ""
