"""Compares what was built with the graph: the types of each convolution, read off TensorRT's layer report.

On TensorRT 8 the builder may compute a convolution in another type than the graph states, and says so nowhere else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nstopt.engines.tensorrt.layer_report import INSERTED, item_type
from nstopt.engines.tensorrt.messages import GraphTypes
from nstopt.precisions import parts

# A kernel's name lists the nodes that were fused into it: "weight + QuantizeLinear_20 + conv1". The metadata of later
# versions lists them as "[ONNX Layer: conv1]"; properties may follow behind a bar.
FUSED = re.compile(r" \+ | \|\| ")
NODE = re.compile(r"\[ONNX Layer: (.*?)(?: \||\])")
MULTIPLIES = re.compile("conv|correlation|gemm|fprop", re.IGNORECASE)


class BuiltTypes(NamedTuple):
    """`computes` is the precision that most convolutions multiply in. `differences` names each convolution whose types
    are not the graph's."""

    computes: str
    differences: tuple[str, ...]


def compare(graph: GraphTypes, report: str, precision: str) -> BuiltTypes:
    """Compare a layer report (layers.json) with a graph of `precision`."""
    kernels = _convolutions(report)
    found = {name: kernels[name] for name in graph.convolutions if name in kernels}
    counts = Counter(_type(kernel, "Inputs") for kernel in found.values())
    most, _ = counts.most_common(1)[0] if counts else (precision, 0)
    computes = precision if most == parts(precision)[0] else most
    return BuiltTypes(computes, tuple(_differences(graph, found)))


def _differences(graph: GraphTypes, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, wanted in graph.convolutions.items():
        if name not in found:
            yield f"{name} is not in TensorRT's layer report"
            continue
        reads, writes = _type(found[name], "Inputs"), _type(found[name], "Outputs")
        if reads not in wanted.reads:
            yield f"{name} reads {reads.upper()}, not {wanted.reads[0].upper()}"
        elif writes not in (*wanted.writes, "int8"):  # int8: fused with the quantizer behind it
            yield f"{name} writes {writes.upper()}, not {wanted.writes[0].upper()}"


def _convolutions(report: str) -> dict[str, Mapping[str, Any]]:
    """Return the first kernel that multiplies for each node that a layer report names."""
    found: dict[str, Mapping[str, Any]] = {}
    for layer in json.loads(report).get("Layers", []):
        if isinstance(layer, dict) and _multiplies(layer) and layer.get("Inputs") and layer.get("Outputs"):
            for name in (*FUSED.split(layer["Name"]), *NODE.findall(str(layer.get("Metadata", "")))):
                found.setdefault(name, layer)
    return found


def _multiplies(layer: Mapping[str, Any]) -> bool:
    kinds = [str(layer.get(key, "")) for key in ("LayerType", "ParameterType", "TacticName")]
    return not INSERTED.intersection(kinds) and any(map(MULTIPLIES.search, kinds))


def _type(layer: Mapping[str, Any], end: str) -> str:
    """Return the type of a kernel's first input or output; tf32 if it rounds FP32 inputs to that."""
    found = item_type(layer[end][0])
    return "tf32" if found == "fp32" and end == "Inputs" and "tf32" in str(layer.get("TacticName", "")) else found
