"""Let a graph smooth its statistics over frames.

    x ─ measured ─ …   ⇒   used = measured + memory · (previous - measured) ─ …

The graph takes, after the picture, `memory`, float32 [] in 0..1, and for each statistic the one that was used on the
frame before. It gives, after the picture, the statistics that it used. With a memory of 0 it computes what it did.
"""

from __future__ import annotations

from typing import NamedTuple

import onnx
from onnx import TensorProto, helper

from nstopt.graph.statistics import open_statistics

MEMORY = "memory"


class SmoothedGraph(NamedTuple):
    """The graph. `previous` names the inputs after `memory`, `used` the outputs after the picture, in the same
    order."""

    model: onnx.ModelProto
    previous: tuple[str, ...]
    used: tuple[str, ...]


def smooth_statistics(model: onnx.ModelProto) -> SmoothedGraph:
    """Return a copy of a lowered graph (shapes inferred) whose statistics are smoothed over frames.

    Raises RewriteError if a statistic cannot be opened.
    """
    opened = open_statistics(model, measure=True)
    graph = opened.model.graph
    used = {
        measured: name
        for statistic in opened.statistics
        for measured, name in zip(statistic.measured, statistic.inputs, strict=True)
    }
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for output in node.output:
            if output in used:
                nodes.extend(_blend(output, used[output]))
    del graph.node[:]
    graph.node.extend(nodes)
    image, *statistics = graph.input
    stylized = graph.output[0]
    previous, given = [_renamed(value, f"{value.name}.previous") for value in statistics], list(statistics)
    del graph.input[:], graph.output[:]
    graph.input.extend([image, helper.make_tensor_value_info(MEMORY, TensorProto.FLOAT, []), *previous])
    graph.output.extend([stylized, *given])
    return SmoothedGraph(opened.model, tuple(one.name for one in previous), tuple(one.name for one in given))


def _blend(measured: str, used: str) -> list[onnx.NodeProto]:
    change, part = f"{used}.change", f"{used}.part"
    return [
        helper.make_node("Sub", [f"{used}.previous", measured], [change]),
        helper.make_node("Mul", [change, MEMORY], [part]),
        helper.make_node("Add", [measured, part], [used]),
    ]


def _renamed(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    return copy
