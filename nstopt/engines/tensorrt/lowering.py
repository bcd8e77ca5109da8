"""An ONNX graph as TensorRT takes it, from 8.5 to 11. All steps are exact.

    image ─ Transpose(bytes) ─ Cast ─ … ─ Cast ─ DepthToSpace(bytes) ─ stylized
        ⇒   image ─ Cast ─ Transpose ─ … ─ DepthToSpace ─ Cast ─ stylized

    int8 weights ─ DequantizeLinear   ⇒   float weights ─ QuantizeLinear ─ DequantizeLinear

    InstanceNormalization, ReduceL2   ⇒   forms that move less (graph/rules/native_norm.py, square_by_channel.py)

TensorRT knows bytes at a graph's ends only. Its parser of 8.x takes no int8 constants, but finds a quantized weight by
its pair; a whole number times its scale comes out of the pair as the same number.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nstopt.engines.tensorrt.validation import check
from nstopt.graph.nodes import cast_to, initializers
from nstopt.graph.passes import apply
from nstopt.graph.rule import Context
from nstopt.graph.rules.native_norm import NativeNorm
from nstopt.graph.rules.square_by_channel import SquareByChannel

# They move values and change none, so a Cast may change places with them.
MOVES = frozenset({"Transpose", "DepthToSpace", "Slice", "Reshape", "Pad", "Identity", "Squeeze", "Unsqueeze"})

NORMS = (NativeNorm, SquareByChannel)


def ready(model: bytes, sm: tuple[int, int] | None, own_norms: bool = False) -> bytes:
    """A serialized model in TensorRT's form, checked against its rules for a GPU of compute capability `sm`. With
    `own_norms`, which TensorRT 8 has not without cuDNN, its InstanceNormalization is kept. Raises BuildError."""
    prepared = prepare(onnx.load_from_string(model), own_norms)
    check(prepared, sm, own_norms)
    serialized: bytes = prepared.SerializeToString()
    return serialized


def precision_of(model: bytes) -> str:
    """What the graph's own types say: int8 where it has quantizers, fp16 where it has halves."""
    graph = onnx.load_from_string(model).graph
    halves = any(cast_to(node) == TensorProto.FLOAT16 for node in graph.node)
    halves = halves or any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8-fp16" if halves else "int8"
    return "fp16" if halves else "fp32"


def prepare(model: onnx.ModelProto, own_norms: bool = False) -> onnx.ModelProto:
    """A copy of `model` that computes the same. What cannot be brought into TensorRT's form is left for the rules to
    find."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    _pair_weights(model.graph)
    _bytes_at_the_ends(model.graph)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for rule in () if own_norms else NORMS:
        model = apply(model, rule, Context(lambda layer: "plain"))
    return model


def _pair_weights(graph: onnx.GraphProto) -> None:
    """An int8 constant before a DequantizeLinear becomes float32, and gets its QuantizeLinear."""
    constants = initializers(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        weight = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weight is not None:
            name, axis = node.input[0], _axis(node)
            scale = constants[node.input[1]].astype(np.float32)
            spread = scale.reshape([-1 if i == axis % weight.ndim else 1 for i in range(weight.ndim)])
            real = (weight.astype(np.float32) * (spread if scale.size > 1 else scale)).astype(np.float32)
            tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
            tensor.CopyFrom(numpy_helper.from_array(real, name))
            nodes.append(
                helper.make_node("QuantizeLinear", list(node.input), [f"{name}_paired"], name=f"{name}_q", axis=axis)
            )
            node.input[0] = f"{name}_paired"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _bytes_at_the_ends(graph: onnx.GraphProto) -> None:
    """One Cast after a uint8 input and one before a uint8 output; between them the bytes' moves are made on floats."""
    bytes_now = {port.name for port in graph.input if port.type.tensor_type.elem_type == TensorProto.UINT8}
    inputs = sorted(bytes_now)
    outputs = {port.name for port in graph.output if port.type.tensor_type.elem_type == TensorProto.UINT8}
    renamed = {name: f"{name}_float" for name in inputs}
    nodes = [
        helper.make_node("Cast", [name], [renamed[name]], name=f"{name}_in", to=TensorProto.FLOAT) for name in inputs
    ]
    for node in graph.node:
        kind = cast_to(node)
        if kind == TensorProto.FLOAT and node.input[0] in bytes_now:
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
            continue
        if kind == TensorProto.UINT8:
            bytes_now.add(node.output[0])
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
            continue
        if node.op_type in MOVES and node.input[0] in bytes_now:
            bytes_now.update(node.output)
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        for index, name in enumerate(node.output):
            if name in outputs:
                node.output[index] = renamed[name] = f"{name}_float"
        nodes.append(node)
    nodes += [
        helper.make_node("Cast", [renamed[name]], [name], name=f"{name}_out", to=TensorProto.UINT8)
        for name in sorted(outputs)
    ]
    del graph.node[:]
    graph.node.extend(nodes)
