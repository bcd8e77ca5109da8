"""Comparison of the graph before and after the rewrites: layers, MACs, bytes moved, and the rules that applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import onnx

from nstopt import engines
from nstopt.graph.cost import LayerCost, Total, costs, total
from nstopt.graph.rule import Event
from nstopt.manifest import InputShape
from nstopt.pipeline.lower import lower

# A layer is shown as changed if it is another operator, or if its work differs by more than this share, and if it moves
# at least this share of all bytes or multiplies.
NOTABLE_CHANGE = 0.01
NOTABLE_SHARE = 0.001


class Change(NamedTuple):
    """The cost of a layer before and after the rewrites; None where the graph has no layer of that name."""

    name: str
    before: LayerCost | None
    after: LayerCost | None


class Effect(NamedTuple):
    """The layers that one rule changed or declined to change, for one reason."""

    rule: str
    applied: bool
    reason: str
    layers: tuple[str, ...]


class Explanation(NamedTuple):
    """The effect of the rewrites for a backend on a net at a size."""

    title: str
    before: Total
    after: Total
    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]


def explain(model: onnx.ModelProto, shape: InputShape, backend: str) -> Explanation:
    """Lower a copy of the exported `model` as an FP32 build for `shape` would, and compare. Raises RewriteError."""
    lowered = lower(model, shape, engines.backend(backend), "fp32")
    before, after = costs(lowered.reference), costs(lowered.model)
    return Explanation(
        f"Rewrites for {backend} at {shape.sizes}",
        total(before),
        total(after),
        tuple(_changes(before, after)),
        tuple(_effects(lowered.events)),
    )


def _changes(before: list[LayerCost], after: list[LayerCost]) -> Iterable[Change]:
    """Yield the changed layers in the order of the graph before, then new ones in the order of the graph after."""
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
