"""Lowers an ONNX graph to the form that TensorRT 8.5 to 11 takes. All steps are exact.

    image ─ Transpose(uint8) ─ Cast ─ … ─ Cast ─ DepthToSpace(uint8) ─ stylized
        ⇒   image ─ Cast ─ Transpose ─ … ─ DepthToSpace ─ Cast ─ stylized

    int8 weights ─ DequantizeLinear   ⇒   float weights ─ QuantizeLinear ─ DequantizeLinear

    x ─ Q ─ DQ ─ Pad ─ Conv   ⇒   x ─ Pad ─ Q ─ DQ ─ Conv             (graph/rules/pad_before_quantizers.py)

    InstanceNormalization, ReduceL2   ⇒   forms that move less memory (graph/rules/native_norm.py, square_by_channel.py)

TensorRT takes uint8 at graph inputs and outputs only. The parser of 8.x takes no int8 constants; it recognizes a
quantized weight by its pair of quantizers. The float weight is an integer times its scale, which the pair restores to
the same integer.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nstopt.engines.tensorrt.validation import check
from nstopt.graph.nodes import attribute, cast_to, clone, initializers
from nstopt.graph.passes import apply
from nstopt.graph.rule import Context
from nstopt.graph.rules.native_norm import NativeNorm
from nstopt.graph.rules.pad_before_quantizers import PadBeforeQuantizers
from nstopt.graph.rules.square_by_channel import SquareByChannel

# Operators that move values without changing them, so that they commute with a Cast.
DATA_MOVEMENT = frozenset({"Transpose", "DepthToSpace", "Slice", "Reshape", "Pad", "Identity", "Squeeze", "Unsqueeze"})

NORMS = (NativeNorm, SquareByChannel)


def ready(model: bytes, sm: tuple[int, int] | None, own_norms: bool = False) -> bytes:
    """Return a serialized model in TensorRT's form, checked for a GPU of compute capability `sm` (None: unknown).
    `own_norms` keeps InstanceNormalization, which TensorRT 8 does not have without cuDNN. Raises BuildError if TensorRT
    cannot take the model."""
    prepared = prepare(onnx.load_from_string(model), own_norms)
    check(prepared, sm, own_norms)
    serialized: bytes = prepared.SerializeToString()
    return serialized


def precision_of(model: bytes) -> str:
    """Return the precision of a serialized model by its types: int8 if it has quantizers, fp16 if it has FP16 tensors,
    int8-fp16 if both, else fp32."""
    graph = onnx.load_from_string(model).graph
    halves = any(cast_to(node) == TensorProto.FLOAT16 for node in graph.node)
    halves = halves or any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8-fp16" if halves else "int8"
    return "fp16" if halves else "fp32"


def prepare(model: onnx.ModelProto, own_norms: bool = False) -> onnx.ModelProto:
    """Return a copy of `model` in TensorRT's form that computes the same. Parts that cannot be lowered are left for
    `validation.check` to report."""
    model = clone(model)
    _pair_weights(model.graph)
    _move_casts_to_the_ends(model.graph)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for rule in (PadBeforeQuantizers,) if own_norms else (PadBeforeQuantizers, *NORMS):
        model = apply(model, rule, Context(lambda layer: "plain"))
    return model


def _pair_weights(graph: onnx.GraphProto) -> None:
    """Turn each int8 constant before a DequantizeLinear into float32, and insert a QuantizeLinear between."""
    constants = initializers(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        weight = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weight is not None:
            name, axis = node.input[0], attribute(node, "axis", 1)
            scale = constants[node.input[1]].astype(np.float32)
            if scale.size > 1:
                scale = scale.reshape([-1 if i == axis % weight.ndim else 1 for i in range(weight.ndim)])
            tensors[name].CopyFrom(numpy_helper.from_array(weight.astype(np.float32) * scale, name))
            nodes.append(
                helper.make_node("QuantizeLinear", list(node.input), [f"{name}_paired"], name=f"{name}_q", axis=axis)
            )
            node.input[0] = f"{name}_paired"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _move_casts_to_the_ends(graph: onnx.GraphProto) -> None:
    """Put one Cast after each uint8 input and one before each uint8 output, so that data movement in uint8 becomes data
    movement in float."""
    uint8 = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    inputs = sorted(uint8)
    outputs = {value.name for value in graph.output if value.type.tensor_type.elem_type == TensorProto.UINT8}
    renamed = {name: f"{name}_float" for name in inputs}
    nodes = [
        helper.make_node("Cast", [name], [renamed[name]], name=f"{name}_in", to=TensorProto.FLOAT) for name in inputs
    ]
    for node in graph.node:
        target = cast_to(node)
        if target == TensorProto.UINT8:
            uint8.add(node.output[0])
        if target == TensorProto.UINT8 or (target == TensorProto.FLOAT and node.input[0] in uint8):
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
            continue
        if node.op_type in DATA_MOVEMENT and node.input[0] in uint8:
            uint8.update(node.output)
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
