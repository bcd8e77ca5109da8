"""Readers of ONNX protos that onnx itself lacks, and the names of convolutions."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

T = TypeVar("T")
CONVOLUTIONS = ("Conv", "ConvTranspose")


def clone(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` that shares nothing with it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def attribute(node: onnx.NodeProto, name: str, default: T) -> T:
    """Return the value of a node's attribute, or `default` if the node does not set it. A string comes as bytes."""
    for found in node.attribute:
        if found.name == name:
            value: T = onnx.helper.get_attribute_value(found)
            return value
    return default


def convolutions(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the convolutions, transposed ones included, in graph order."""
    return [node for node in graph.node if node.op_type in CONVOLUTIONS]


def multiplying(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the convolutions with constant weights, except those whose weights are all 0 or 1: these only add."""
    constants = initializers(graph)
    return [
        node
        for node in convolutions(graph)
        if node.input[1] in constants and not np.isin(constants[node.input[1]], (0, 1)).all()
    ]


def cast_to(node: onnx.NodeProto) -> int:
    """Return the data type that a Cast converts to (a TensorProto.DataType); 0 for any other operator."""
    return attribute(node, "to", 0) if node.op_type == "Cast" else 0


def groups(node: onnx.NodeProto) -> int:
    """Return the group count of a convolution."""
    return attribute(node, "group", 1)


def initializers(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """Return the graph's initializers as arrays, by tensor name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return the node that computes each tensor, by tensor name."""
    return {output: node for node in graph.node for output in node.output}


def dequantized(graph: onnx.GraphProto) -> dict[str, str]:
    """Map the output of each DequantizeLinear, and casts of it, to the integer tensor that it is computed from."""
    found: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            found[node.output[0]] = node.input[0]
        elif node.op_type == "Cast" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def read_by_norms(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that only instance norms read. Adding a constant to a channel of such a tensor changes
    nothing."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    return {name for name, operators in readers.items() if operators == {"InstanceNormalization"}}


def shapes(graph: onnx.GraphProto) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes that shape inference recorded, by tensor name; None stands for a free dimension."""
    return {
        value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def name_convolutions(model: onnx.ModelProto) -> None:
    """Name each convolution after its weight (`res1.conv1.weight` → `res1.conv1`). Tables and manifests show the
    names."""
    seen: Counter[str] = Counter()
    for node in convolutions(model.graph):
        base = node.input[1].removesuffix(".weight").removeprefix("net.")
        seen[base] += 1
        node.name = base if seen[base] == 1 else f"{base}#{seen[base]}"
