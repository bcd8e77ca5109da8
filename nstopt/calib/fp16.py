"""FP16 conversion of a graph: weights and activations in half precision, the norms' statistics in FP32.

A sum over 512 x 512 values, or the square of an activation, overflows FP16's 65504, and an epsilon of 1e-6 vanishes in
it. So the square before a reduction, and all that is computed from its result until it is broadcast over the picture
again, stay in FP32. So do quantizers, which take nothing else in opset 17, and the shifts and paddings by a constant
next to them.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import TensorProto
from onnxscript import ir

from nstopt.graph.fold import fold
from nstopt.graph.nodes import cast_to, clone, producers, shapes
from nstopt.ort import convert_to_fp16

# Operators with FP32 statistics inside, operators that only make uint8 pictures, and operators that take FP32 only.
BLOCKED_OPS = [
    "InstanceNormalization",
    "LayerNormalization",
    "GlobalAveragePool",
    "Round",
    "QuantizeLinear",
    "DequantizeLinear",
]
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL2", "GlobalAveragePool")


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of FP32 `model` (shapes inferred) that computes in FP16, except for the norms' statistics,
    quantizers and the last rounding. Inputs and outputs keep their types."""
    copy = clone(model)
    for index, node in enumerate(copy.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    blocked = sorted(_norm_statistics(copy.graph) | _offset_arithmetic(copy.graph))
    converted = convert_to_fp16(copy, BLOCKED_OPS, blocked)
    _drop_repeated_casts(converted.graph)
    _bypass_fp16(converted.graph, blocked)
    del converted.graph.value_info[:]
    ordered = ir.from_proto(converted)  # the converter appends its casts at the end
    ordered.graph.sort()
    fold(ordered)  # the casts of constants
    converted = ir.to_proto(ordered)
    onnx.checker.check_model(converted)
    return converted


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """Keep one of the nodes that make the same tensor.

    The converter writes the same cast, with the same name of its output, for each input of a blocked node that reads a
    tensor. Such a graph is not in single assignment form: onnx_ir refuses it, so that its passes cannot clean it.
    """
    nodes = {node.output[0]: node for node in graph.node}
    del graph.node[:]
    graph.node.extend(nodes.values())


def _bypass_fp16(graph: onnx.GraphProto, blocked: Collection[str]) -> None:
    """Connect blocked nodes in FP32.

    The converter casts to FP16 and back even between two blocked nodes, and the square of 256 overflows there. The
    optimizer drops the casts that are then unused.
    """
    made_by = producers(graph)

    def before_cast(name: str, to: int) -> str:
        """Return the input of the cast to type `to` that makes the tensor `name`; "" if no such cast makes it."""
        node = made_by.get(name)
        return node.input[0] if node is not None and cast_to(node) == to else ""

    for node in graph.node:
        for index, name in enumerate(node.input):
            exact = before_cast(before_cast(name, TensorProto.FLOAT), TensorProto.FLOAT16)
            source = made_by.get(exact)
            if source is not None and (source.name in blocked or source.op_type in BLOCKED_OPS):
                node.input[index] = exact


def _norm_statistics(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the nodes around each reduction that must stay in FP32."""
    made_by, known = producers(graph), shapes(graph)
    blocked: set[str] = set()
    small: set[str] = set()
    for node in graph.node:
        if node.op_type == "InstanceNormalization":
            blocked |= _squares_before(node.input[0], made_by)
        elif node.op_type in REDUCTIONS:
            blocked.add(node.name)
            small.update(node.output)
            for tensor in node.input[:1]:
                blocked |= _squares_before(tensor, made_by)
        elif small & set(node.input) and all(known.get(name, (2, 2))[2:] == (1, 1) for name in node.output):
            blocked.add(node.name)
            small.update(node.output)
    return blocked


def _squares_before(tensor: str, made_by: dict[str, onnx.NodeProto]) -> set[str]:
    """Return the names of the nodes that make the square under a variance: the square itself and the centering or
    scaling before it."""
    found: set[str] = set()
    while (node := made_by.get(tensor)) is not None and node.op_type in ("Mul", "Pow", "Sub", "Abs"):
        found.add(node.name)
        tensor = node.input[0]
    return found


def _offset_arithmetic(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the nodes that subtract an offset before quantization or pad with it: FP16 would round the
    offset."""
    made_by = producers(graph)
    found: set[str] = set()
    restored: set[str] = set()
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in made_by:
            before = made_by[node.input[0]]
            found |= {before.name} if before.op_type == "Sub" else set()
        elif node.op_type == "DequantizeLinear":
            restored.update(node.output)
        elif node.op_type == "Pad" and node.input[0] in restored:
            found.add(node.name)
            restored.update(node.output)
    return found
