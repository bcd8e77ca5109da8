"""FP16 into the graph, as casts: weights and activations in half precision, the norms' statistics in FP32.

A sum over 512 x 512 values, or the square of an activation, overflows FP16's 65504, and an epsilon of 1e-6 vanishes
in it; so what feeds a reduction, and what is computed from its result before it is spread over the picture again,
stays in FP32. So do quantizers, which of opset 17 take nothing else, and what shifts or pads beside them by a constant.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
import onnxscript.optimizer
from onnx import TensorProto
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxscript import ir

from nstopt.graph.nodes import cast_to, clone, producers, shapes

# Ops that hold FP32 statistics inside, that only exist to make uint8 pictures, or that take FP32 only.
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
    """A copy of FP32 `model`, shapes inferred, that computes in FP16 but for the norms' statistics and the last
    rounding."""
    copy = clone(model)
    for index, node in enumerate(copy.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    blocked = sorted(_statistics(copy.graph) | _beside_quantizers(copy.graph))
    converted: onnx.ModelProto = convert_float_to_float16(
        copy, keep_io_types=True, disable_shape_infer=True, op_block_list=BLOCKED_OPS, node_block_list=blocked
    )
    _drop_repeated(converted.graph)
    _join_blocked(converted.graph, blocked)
    del converted.graph.value_info[:]
    ordered = ir.from_proto(converted)  # the converter appends its casts at the end
    ordered.graph.sort()
    converted = ir.to_proto(onnxscript.optimizer.optimize(ordered))  # folds its casts of constants
    onnx.checker.check_model(converted)
    return converted


def _drop_repeated(graph: onnx.GraphProto) -> None:
    """The converter writes the same cast again for each blocked node, and each input of one, that reads a tensor."""
    nodes = {node.output[0]: node for node in graph.node}
    del graph.node[:]
    graph.node.extend(nodes.values())


def _join_blocked(graph: onnx.GraphProto, blocked: Collection[str]) -> None:
    """Between two blocked nodes too the converter goes through FP16, where the square of 256 overflows: there the
    second reads what the first wrote. The optimizer drops casts that nobody reads any more."""
    made_by = producers(graph)

    def before_cast(name: str, to: int) -> str:
        """What was cast to `to` to make the tensor `name`; "" if nothing was."""
        node = made_by.get(name)
        return node.input[0] if node is not None and cast_to(node) == to else ""

    for node in graph.node:
        for index, name in enumerate(node.input):
            whole = before_cast(before_cast(name, TensorProto.FLOAT), TensorProto.FLOAT16)
            source = made_by.get(whole)
            if source is not None and (source.name in blocked or source.op_type in BLOCKED_OPS):
                node.input[index] = whole


def _statistics(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes around each reduction that must stay in FP32."""
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
    """The square, and the centering or scaling before it, that a variance is the mean of."""
    found: set[str] = set()
    while (node := made_by.get(tensor)) is not None and node.op_type in ("Mul", "Pow", "Sub", "Abs"):
        found.add(node.name)
        tensor = node.input[0]
    return found


def _beside_quantizers(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes that take an offset off what is quantized, or pad it with one: FP16 would round the offset."""
    made_by = producers(graph)
    found: set[str] = set()
    whole: set[str] = set()
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in made_by:
            before = made_by[node.input[0]]
            found |= {before.name} if before.op_type == "Sub" else set()
        elif node.op_type == "DequantizeLinear":
            whole.update(node.output)
        elif node.op_type == "Pad" and node.input[0] in whole:
            found.add(node.name)
            whole.update(node.output)
    return found
