"""Let a graph smooth its statistics over frames.

    x ─ measured ─ …   ⇒   used = measured + memory · (previous - measured) ─ …

The graph takes, after the picture, `memory`, float32 [1] in 0..1, and for each statistic the one that was used on the
frame before. It gives, after the picture, the statistics that it used. With a memory of 0 it computes what it did. A
graph without statistics stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import onnx
from onnx import TensorProto, helper

from nstopt.graph.statistics import open_statistics

MEMORY = "memory"


class SmoothedGraph(NamedTuple):
    """The graph, and the names of its inputs after `memory`. Its outputs after the picture have the same order."""

    model: onnx.ModelProto
    previous: tuple[str, ...]


def smooth_statistics(model: onnx.ModelProto) -> SmoothedGraph:
    """Return a copy of a lowered graph whose statistics are smoothed over frames.

    Raises RewriteError if a statistic is not of a float32 tensor.
    """
    opened = open_statistics(model, measure=True)
    graph = opened.model.graph
    used = {
        measured: name
        for statistic in opened.statistics
        for measured, name in zip(statistic.measured, statistic.inputs, strict=True)
    }
    nodes = [added for node in graph.node for added in (node, *_blends(node, used))]
    del graph.node[:]
    graph.node.extend(nodes)
    image, *statistics = graph.input
    stylized = graph.output[0]
    previous = [_renamed(value, f"{value.name}.previous") for value in statistics]
    del graph.input[:], graph.output[:]
    memory = [helper.make_tensor_value_info(MEMORY, TensorProto.FLOAT, [1])] if previous else []
    graph.input.extend([image, *memory, *previous])
    graph.output.extend([stylized, *statistics])
    return SmoothedGraph(opened.model, tuple(value.name for value in previous))


def _blends(node: onnx.NodeProto, used: Mapping[str, str]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that smooth the statistics which `node` measures; `used` maps their names to the smoothed
    ones."""
    for measured in used.keys() & set(node.output):
        name = used[measured]
        yield helper.make_node("Sub", [f"{name}.previous", measured], [f"{name}.change"])
        yield helper.make_node("Mul", [f"{name}.change", MEMORY], [f"{name}.kept"])
        yield helper.make_node("Add", [measured, f"{name}.kept"], [name])


def _renamed(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    return copy
