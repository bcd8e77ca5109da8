"""Lowers an ONNX graph to the form that TensorRT 8.5 to 11 takes. All steps are exact, except those that `Forms` asks
for: FP16 scales (half_scales.py), and convolutions that multiply floats instead (float_convolution.py).

    image ─ Transpose(uint8) ─ Cast ─ … ─ Cast ─ DepthToSpace(uint8) ─ stylized
        ⇒   image ─ Cast ─ Transpose ─ … ─ DepthToSpace ─ Cast ─ stylized

    int8 weights ─ DequantizeLinear   ⇒   float weights ─ QuantizeLinear ─ DequantizeLinear

    x ─ Q ─ DQ ─ Pad ─ Conv   ⇒   x ─ Pad ─ Q ─ DQ ─ Conv             (graph/rules/pad_before_quantizers.py)

    InstanceNormalization, ReduceL2   ⇒   forms that move less memory (graph/rules/native_norm.py, square_by_channel.py)

    Shape(start, end)   ⇒   Shape ─ Slice                             (graph/rules/whole_shape.py)

TensorRT takes uint8 at graph inputs and outputs only. The parser of 8.x takes no int8 constants; it recognizes a
quantized weight by its pair of quantizers. The float weight is an integer times its scale, which the pair restores to
the same integer.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nstopt.engines.tensorrt.float_convolution import FloatGrouped, FloatReflected
from nstopt.engines.tensorrt.forms import DEFAULT, HALF_SCALES_FIRST_OPSET, Forms
from nstopt.engines.tensorrt.half_scales import HalfScales
from nstopt.engines.tensorrt.validation import MAX_OPSET, check
from nstopt.errors import BuildError
from nstopt.graph.nodes import attribute, cast_to, clone, convolutions, initializers, shapes
from nstopt.graph.passes import apply
from nstopt.graph.rule import PLAIN, Context, Rule
from nstopt.graph.rules.native_norm import NativeNorm
from nstopt.graph.rules.pad_before_quantizers import ConstantPadBeforeQuantizers, PadBeforeQuantizers
from nstopt.graph.rules.square_by_channel import SquareByChannel
from nstopt.graph.rules.whole_shape import WholeShape

# Operators that move values without changing them, so that they commute with a Cast.
DATA_MOVEMENT = frozenset({"Transpose", "DepthToSpace", "Slice", "Reshape", "Pad", "Identity", "Squeeze", "Unsqueeze"})

NORMS = (NativeNorm, SquareByChannel)
FLOATS = {"int8-depthwise": FloatGrouped, "int8-reflected": FloatReflected}


def ready(model: bytes, sm: tuple[int, int] | None, forms: Forms = DEFAULT) -> bytes:
    """Return a serialized model in TensorRT's form, checked for a GPU of compute capability `sm` (None: unknown).
    Raises BuildError if TensorRT cannot take the model."""
    prepared = prepare(onnx.load_from_string(model), forms)
    if forms.in_floats and b"QuantizeLinear" in model and not _is_quantized(prepared):
        raise BuildError(
            "no convolution of this net can be INT8 on this GPU: those behind a reflection and those in groups have "
            "failed in nstopt doctor --smoke; build FP32 or --fp16"
        )
    check(prepared, sm, forms.own_norms, HALF_SCALES_FIRST_OPSET if forms.half_scales else MAX_OPSET)
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


def prepare(model: onnx.ModelProto, forms: Forms = DEFAULT) -> onnx.ModelProto:
    """Return a copy of `model` in TensorRT's form that computes the same, but for what `forms` changes. Parts that
    cannot be lowered are left for `validation.check` to report."""
    model = clone(model)
    _pair_weights(model.graph)
    _move_casts_to_the_ends(model.graph)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    floats = [FLOATS[kind] for kind in sorted(forms.in_floats)]
    pads = ConstantPadBeforeQuantizers if forms.reflects_int8 else PadBeforeQuantizers
    for rule in (WholeShape, pads, *floats, *(() if forms.own_norms else NORMS)):
        model = _applied(rule, model)
    _write_kernel_shapes(model.graph)
    if forms.half_scales:
        model = _applied(HalfScales, onnx.version_converter.convert_version(model, HALF_SCALES_FIRST_OPSET))
    return model


def _is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _applied(rule: type[Rule], model: onnx.ModelProto) -> onnx.ModelProto:
    return apply(model, rule, Context(lambda layer: PLAIN))


def _write_kernel_shapes(graph: onnx.GraphProto) -> None:
    """Write down the kernel's size at every convolution: without it, the parser of 8.x takes no quantized weights."""
    known = {**shapes(graph), **{tensor.name: tuple(tensor.dims) for tensor in graph.initializer}}
    for node in convolutions(graph):
        if attribute(node, "kernel_shape", None) is None and node.input[1] in known:
            node.attribute.append(helper.make_attribute("kernel_shape", known[node.input[1]][2:]))


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
