"""Small questions about an ONNX graph, asked by more than one room."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

CONVOLUTIONS = ("Conv", "ConvTranspose")


def convolutions(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The convolutions, transposed ones too, in graph order."""
    return [node for node in graph.node if node.op_type in CONVOLUTIONS]


def multiplying(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The convolutions that multiply: not those whose weights are all 0 or 1, which only add what others made."""
    constants = initializers(graph)
    return [
        node
        for node in convolutions(graph)
        if node.input[1] in constants and not np.isin(constants[node.input[1]], (0, 1)).all()
    ]


def cast_to(node: onnx.NodeProto) -> int:
    """The type that a Cast makes; 0 for another node."""
    return next((attribute.i for attribute in node.attribute if node.op_type == "Cast" and attribute.name == "to"), 0)


def groups(node: onnx.NodeProto) -> int:
    """Of a convolution."""
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def initializers(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """The graph's constants as arrays, by tensor name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each tensor."""
    return {output: node for node in graph.node for output in node.output}


def dequantized(graph: onnx.GraphProto) -> dict[str, str]:
    """What each DequantizeLinear makes, cast or not, and the integers that it makes it of."""
    found: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            found[node.output[0]] = node.input[0]
        elif node.op_type == "Cast" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def read_by_norms(graph: onnx.GraphProto) -> set[str]:
    """The tensors that nothing but instance norms read: a constant added to a channel of theirs changes nothing."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    return {name for name, operators in readers.items() if operators == {"InstanceNormalization"}}


def shapes(graph: onnx.GraphProto) -> dict[str, tuple[int | None, ...]]:
    """Shapes that shape inference wrote down; None for a free dimension."""
    return {
        value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def name_convolutions(model: onnx.ModelProto) -> None:
    """Name each convolution after its weight (`res1.conv1.weight` → `res1.conv1`), as tables and manifests show it."""
    seen: Counter[str] = Counter()
    for node in convolutions(model.graph):
        base = node.input[1].removesuffix(".weight").removeprefix("net.")
        seen[base] += 1
        node.name = base if seen[base] == 1 else f"{base}#{seen[base]}"
