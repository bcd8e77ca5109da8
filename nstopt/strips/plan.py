"""Cut a graph whose statistics are open into stages.

A stage runs on every strip of the picture before the next one begins, since that one needs statistics of the whole
picture. Between stages, a tensor that a later stage reads is either kept on disk or computed again, whichever costs
less.

    image ─ Conv ─┬─ norm ─ Conv ─┬─ norm ─ …        stage 0: image → statistics of the first Conv
                  ╵ statistics    ╵ statistics        stage 1: image → statistics of the second Conv, which is kept
                                                      stage 2: the second Conv's result → …
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import NamedTuple

import onnx

from nstopt.graph.cost import costs
from nstopt.graph.nodes import producers
from nstopt.graph.statistics import Statistic

# Multiply-adds in the time that a byte takes to be written to disk and read again, or to be read from memory.
MACS_PER_SPILLED_BYTE = 80
MACS_PER_BYTE = 10


class Stage(NamedTuple):
    """A part of the graph. It reads the tensors `inputs`, the picture among them if needed, and statistics that former
    stages measured; it measures `statistics` and keeps `kept`. The last stage gives the stylized picture alone."""

    inputs: tuple[str, ...]
    statistics: tuple[Statistic, ...]
    kept: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class _Graph:
    """What the plan knows of a graph. `bytes` holds the tensors with rows; `level` is the stage in which a tensor can
    be computed first, `kept` what is on disk, and the picture."""

    producers: Mapping[str, onnx.NodeProto]
    macs: Mapping[str, int]
    bytes: Mapping[str, int]
    level: dict[str, int] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


def plan(model: onnx.ModelProto, statistics: Sequence[Statistic], sizes: Mapping[str, int]) -> tuple[Stage, ...]:
    """Return the stages of `model`, whose sizes are fixed and whose statistics are open. `sizes` are the bytes of the
    tensors that have rows of the picture; only these may be kept."""
    picture, result = model.graph.input[0].name, model.graph.output[0].name
    made_by = producers(model.graph)
    macs = {layer.name: layer.work.macs for layer in costs(model)}
    graph = _Graph(made_by, {name: macs.get(node.name or node.output[0], 0) for name, node in made_by.items()}, sizes)
    graph.level.update(_levels(graph, statistics))
    graph.kept.add(picture)
    later = _later_uses(graph)
    stages = []
    for level in range(graph.level[result] + 1):
        measured = tuple(one for one in statistics if graph.level[one.source] == level)
        candidates = [name for name in later if graph.level[name] == level and name in sizes and name in made_by]
        kept = tuple(name for name in candidates if _is_kept(graph, name, len(later[name])))
        targets = dict.fromkeys((*(one.source for one in measured), *kept))
        if level == graph.level[result]:
            targets = {result: None}
        inputs = [name for name in _ancestors(graph, targets, computed=set(kept)) if name in graph.kept - set(kept)]
        stages.append(Stage(tuple(inputs), measured, kept, tuple(targets)))
    return tuple(stages)


def _levels(graph: _Graph, statistics: Sequence[Statistic]) -> dict[str, int]:
    """Return the number of statistics that each tensor depends on one after the other."""
    source = {name: one.source for one in statistics for name in one.inputs}
    before = {name: list(filter(None, node.input)) for name, node in graph.producers.items()}
    before |= {name: [tensor] for name, tensor in source.items()}
    level: dict[str, int] = {}
    for name in TopologicalSorter(before).static_order():
        level[name] = max((level[one] for one in before.get(name, ())), default=0) + (name in source)
    return level


def _later_uses(graph: _Graph) -> dict[str, set[int]]:
    """Return the tensors that later stages read than the one that computes them, and these stages, in graph order."""
    found: dict[str, set[int]] = {}
    for name, node in graph.producers.items():
        for read in node.input:
            if read in graph.level and graph.level[name] > graph.level[read]:
                found.setdefault(read, set()).add(graph.level[name])
    return {name: found[name] for name in graph.level if name in found}


def _is_kept(graph: _Graph, name: str, uses: int) -> bool:
    """Return True if a tensor goes to disk, and note it: if that costs less than to compute it again for each use."""
    again = 0
    for tensor in _ancestors(graph, [name]):
        again += graph.macs.get(tensor, 0) if tensor not in graph.kept else 0
        again += graph.bytes.get(tensor, 0) * (MACS_PER_SPILLED_BYTE // 2 if tensor in graph.kept else MACS_PER_BYTE)
    is_kept = graph.bytes[name] * MACS_PER_SPILLED_BYTE * (1 + uses) // 2 < again * uses
    if is_kept:
        graph.kept.add(name)
    return is_kept


def _ancestors(graph: _Graph, names: Iterable[str], computed: Collection[str] = ()) -> list[str]:
    """Return `names` and all tensors that they are computed from, back to those that are kept and not in `computed`."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            if name in graph.producers and (name not in graph.kept or name in computed):
                waiting.extend(filter(None, graph.producers[name].input))
    return list(found)
