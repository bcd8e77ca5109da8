"""Compares what was built with the graph: the types of each convolution, read off TensorRT's layer report.

On TensorRT 8 the builder may compute a convolution in another type than the graph states, and says so nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nstopt.engines.tensorrt.layer_report import Kernel, read_layers
from nstopt.engines.tensorrt.messages import ConvolutionInfo, GraphInfo
from nstopt.precisions import parts


class BuiltTypes(NamedTuple):
    """`computes` is the precision that most convolutions multiply in. `differences` names each convolution whose types
    are not the graph's."""

    computes: str
    differences: tuple[str, ...]


def compare(graph: GraphInfo, report: str, precision: str, tf32: bool = False) -> BuiltTypes:
    """Compare a layer report (layers.json) with a graph of `precision`. With `tf32`, that is what an FP32 graph is
    computed in: TensorRT may use it for any convolution."""
    found = _convolutions(graph, report)
    if tf32:
        fp32 = {name: kernel._replace(reads=kernel.reads.replace("tf32", "fp32")) for name, kernel in found.items()}
        return BuiltTypes("tf32", tuple(_differences(graph.convolutions, fp32)))
    counts = Counter(kernel.reads for kernel in found.values())
    most, _ = counts.most_common(1)[0] if counts else (precision, 0)
    computes = precision if most == parts(precision)[0] else most
    return BuiltTypes(computes, tuple(_differences(graph.convolutions, found)))


def _convolutions(graph: GraphInfo, report: str) -> dict[str, Kernel]:
    """Return the first kernel that multiplies for each convolution of the graph that a report names."""
    found: dict[str, Kernel] = {}
    for kernel in read_layers(report, graph.convolutions).values():
        if kernel.multiplies and kernel.reads and kernel.writes:
            for name in graph.convolutions.keys() & kernel.nodes:
                found.setdefault(name, kernel)
    return found


def _differences(convolutions: Mapping[str, ConvolutionInfo], found: Mapping[str, Kernel]) -> Iterator[str]:
    for name, wanted in convolutions.items():
        kernel = found.get(name)
        if kernel is None:
            yield f"{name} is not in TensorRT's layer report"
        elif kernel.reads not in wanted.reads:
            yield f"{name} reads {kernel.reads.upper()}, not {wanted.reads[0].upper()}"
        elif kernel.writes not in (*wanted.writes, "int8"):  # int8: fused with the quantizer behind it
            yield f"{name} writes {kernel.writes.upper()}, not {wanted.writes[0].upper()}"
