"""The graph before and after the rewrites, for people: layers, MACs, bytes moved, and which rule did what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import onnx
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nstopt.bundle import ShapeInfo
from nstopt.graph.cost import LayerCost, Total, costs, total
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import rewrite
from nstopt.graph.rule import Event
from nstopt.graph.specialise import specialise

# A layer is shown as changed if it is another operator, or if its work differs by more than this share, and if it moves
# at least this share of all bytes or multiplies.
NOTABLE_CHANGE = 0.01
NOTABLE_SHARE = 0.001
SHOWN_NAMES = 4
ABSENT = "–"


class Change(NamedTuple):
    """A layer of that name before and after; None where there is none."""

    name: str
    before: LayerCost | None
    after: LayerCost | None


class Effect(NamedTuple):
    """What one rule did or declined to do, with the same words, to these layers."""

    rule: str
    applied: bool
    reason: str
    layers: tuple[str, ...]


class Explanation(NamedTuple):
    """What the rewrites for a backend make of a net at a size."""

    title: str
    before: Total
    after: Total
    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]


def explain(model: onnx.ModelProto, shape: ShapeInfo, backend: str) -> Explanation:
    """Rewrite a copy of the exported `model` as a build for that shape would, and compare. Raises RewriteError."""
    graph = specialise(model, shape)
    name_convolutions(graph)
    rewritten = rewrite(graph, backend)
    before, after = costs(graph), costs(rewritten.model)
    return Explanation(
        f"Rewrites for {backend} at {shape.size or 'any size'}",
        total(before),
        total(after),
        tuple(_changes(before, after)),
        tuple(_effects(rewritten.events)),
    )


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


def _changes(before: list[LayerCost], after: list[LayerCost]) -> Iterable[Change]:
    """In the order of the graph before, then what is new in the order of the graph after."""
    least_bytes = NOTABLE_SHARE * total(before).bytes_moved
    old, new = ({layer.name: layer for layer in layers} for layers in (before, after))
    for name in dict.fromkeys([*old, *new]):
        change = Change(name, old.get(name), new.get(name))
        sides = [side for side in change[1:] if isinstance(side, LayerCost)]
        if _differs(sides) and any(side.work.macs or side.work.bytes_moved >= least_bytes for side in sides):
            yield change


def _differs(sides: list[LayerCost]) -> bool:
    if len(sides) == 1:
        return True
    before, after = sides
    return before.op != after.op or any(
        abs(now - was) > NOTABLE_CHANGE * was
        for was, now in (
            (before.work.macs, after.work.macs),
            (before.work.bytes_moved, after.work.bytes_moved),
        )
    )


def _effects(events: Iterable[Event]) -> list[Effect]:
    """Equal events of several layers as one, applied ones first."""
    layers: dict[tuple[str, bool, str], list[str]] = {}
    for event in events:
        layers.setdefault((event.rule, event.applied, event.reason), []).append(event.layer)
    effects = [Effect(*key, tuple(names)) for key, names in layers.items()]
    return sorted(effects, key=lambda effect: not effect.applied)


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
