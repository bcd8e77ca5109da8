"""TensorRT's requirements for a graph, checked on the CPU before every build.

TensorRT reports some violations minutes later, some as an assertion without a node name, and some not at all. The rules
are those of 8.5, the strictest version; later versions take every graph that it takes. Sources: onnx-tensorrt 8.5-GA
and 8.6-GA (docs/operators.md; the importers and QuantDequantLinearHelper in builtin_op_importers.cpp; convMultiInput
and unaryHelper in onnx2trt_utils.cpp) and the 8.6 developer guide, "Explicit Quantization".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from nstopt.errors import BuildError
from nstopt.gpu.facts import INT8_DECONVOLUTION_SM
from nstopt.graph.nodes import attribute, initializers, producers

MAX_OPSET = 17
# Violations that an error message lists.
MAX_LISTED = 3
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
# The operators marked Y in docs/operators.md of onnx-tensorrt 8.5, as far as image nets use them.
OPERATOR_NAMES = """
Abs Add And AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos
DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND
Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Identity InstanceNormalization
LeakyRelu Less LessOrEqual Log MatMul Max MaxPool Mean Min Mod Mul Neg Not Or Pad Pow PRelu QuantizeLinear Range
Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
Round Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan
Tanh ThresholdedRelu Tile Transpose Unsqueeze Upsample Where
"""
OPERATORS = frozenset(OPERATOR_NAMES.split())
KERNEL = frozenset({"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"})
REDUCTION = frozenset({"axes", "keepdims"})
# The attributes that the importers of 8.5 and 8.6 read. They ignore others without a word.
ATTRIBUTES: dict[str, frozenset[str]] = {
    "Cast": frozenset({"to"}),
    "Concat": frozenset({"axis"}),
    "Conv": KERNEL,
    "ConvTranspose": KERNEL | {"output_padding", "output_shape"},
    "DepthToSpace": frozenset({"blocksize", "mode"}),
    "DequantizeLinear": frozenset({"axis"}),
    "InstanceNormalization": frozenset({"epsilon"}),
    "Pad": frozenset({"mode"}),
    "QuantizeLinear": frozenset({"axis"}),
    "ReduceL2": REDUCTION,
    "ReduceMean": REDUCTION,
    "ReduceSum": REDUCTION,
    "Reshape": frozenset({"allowzero"}),
    "Resize": frozenset({"coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "mode", "nearest_mode"}),
    "Shape": frozenset(),
    "Transpose": frozenset({"perm"}),
}
# Operators of one input that the importers refuse for integers.
FLOAT_ONLY = frozenset({"Ceil", "Cos", "Erf", "Exp", "Floor", "Log", "Reciprocal", "Round", "Sin", "Sqrt"})
INTEGERS = frozenset({TensorProto.INT32, TensorProto.INT64})
PAD_MODES = frozenset({"constant", "reflect", "edge"})
RESIZE_MODES = frozenset({"nearest", "linear"})


@dataclass(frozen=True)
class _Graph:
    """A graph and its look-up tables: the producer of each tensor, initializers, element types, and the names of graph
    inputs and outputs."""

    nodes: tuple[onnx.NodeProto, ...]
    producers: dict[str, onnx.NodeProto]
    initializers: dict[str, NDArray[np.generic]]
    types: dict[str, int]
    ends: frozenset[str]

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if tensor in node.input]


def check(
    model: onnx.ModelProto, sm: tuple[int, int] | None = None, own_norms: bool = False, newest_opset: int = MAX_OPSET
) -> None:
    """Raise BuildError if TensorRT 8.5 or later does not take `model`, whose shapes must be inferred. `sm` is the
    compute capability of the target GPU, None if unknown. `own_norms` allows InstanceNormalization, for TensorRT 10 and
    later; so does a `newest_opset` above MAX_OPSET."""
    found = list(violations(model, sm, own_norms, newest_opset))
    if found:
        more = f" (and {len(found) - MAX_LISTED} more)" if len(found) > MAX_LISTED else ""
        raise BuildError(f"TensorRT cannot take this graph: {'; '.join(found[:MAX_LISTED])}{more}")


def violations(
    model: onnx.ModelProto, sm: tuple[int, int] | None = None, own_norms: bool = False, newest_opset: int = MAX_OPSET
) -> Iterator[str]:
    """Yield a sentence for every rule that `model` breaks, with the node's name in front. Arguments as for `check`."""
    onnx_graph = model.graph
    values = (*onnx_graph.input, *onnx_graph.value_info, *onnx_graph.output)
    graph = _Graph(
        nodes=tuple(onnx_graph.node),
        producers=producers(onnx_graph),
        initializers=initializers(onnx_graph),
        types={value.name: value.type.tensor_type.elem_type for value in values},
        ends=frozenset(value.name for value in (*onnx_graph.input, *onnx_graph.output)),
    )
    yield from _opset(model, newest_opset)
    yield from _operators(graph)
    yield from _uint8(graph)
    for node in graph.nodes:
        yield from _attributes(node)
        if node.op_type in QUANTIZERS:
            yield from _quantizer(graph, node)
        elif node.op_type in ("Conv", "ConvTranspose"):
            yield from _quantized_weight(graph, node, sm)
        elif node.op_type == "Resize":
            yield from _mode(node, b"nearest", RESIZE_MODES)
            if graph.producers.get(node.input[0], node).op_type in QUANTIZERS:
                yield f"{_name(node)}: the input of a Resize must not be quantized"
        elif node.op_type == "InstanceNormalization":
            yield from _instance_norm(graph, node, own_norms)
        elif node.op_type == "Slice":
            if len(node.input) > 3 and node.input[3] and not _is_constant(graph, node.input[3]):
                yield f"{_name(node)}: the axes of a Slice must be constants"
        elif node.op_type == "Pad":
            yield from _mode(node, b"constant", PAD_MODES)
        elif node.op_type in FLOAT_ONLY and graph.types.get(node.input[0]) in INTEGERS:
            yield f"{_name(node)}: {node.op_type} on integers is not supported"


def _opset(model: onnx.ModelProto, newest: int) -> Iterator[str]:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > newest:
            yield f"opset {entry.version} is not supported; {newest} is the newest"


def _operators(graph: _Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield f"{_name(node)}: operator {node.domain}.{node.op_type} is not of the standard domain"
        elif node.op_type not in OPERATORS:
            yield f"{_name(node)}: operator {node.op_type} is not supported"


def _attributes(node: onnx.NodeProto) -> Iterator[str]:
    """An attribute that is not read may only have its default value."""
    for one in node.attribute:
        if one.name not in ATTRIBUTES.get(node.op_type, {one.name}):
            default = onnx.defs.get_schema(node.op_type, MAX_OPSET).attributes[one.name].default_value
            if helper.get_attribute_value(one) != helper.get_attribute_value(default):
                yield f"{_name(node)}: TensorRT 8 does not read the attribute {one.name} of {node.op_type}"


def _uint8(graph: _Graph) -> Iterator[str]:
    """uint8 may only be between a graph input or output and a Cast. Quantizers have a rule of their own."""
    for node in graph.nodes:
        if node.op_type in QUANTIZERS:
            continue
        tensors = [name for name in (*node.input, *node.output) if graph.types.get(name) == TensorProto.UINT8]
        if tensors and (node.op_type != "Cast" or not graph.ends.issuperset(tensors)):
            yield f"{_name(node)}: {node.op_type} on uint8; only a Cast at a graph input or output may use uint8"


def _quantizer(graph: _Graph, node: onnx.NodeProto) -> Iterator[str]:
    name = _name(node)
    if len(node.input) != 3 or not all(tensor in graph.initializers for tensor in node.input[1:]):
        yield f"{name}: scale and zero point must be initializers"
        return
    scale, zero = graph.initializers[node.input[1]].astype(np.float32), graph.initializers[node.input[2]]
    if zero.dtype != np.int8:
        yield f"{name}: its integers are {zero.dtype}; they must be int8"
    if np.any(zero != 0):
        yield f"{name}: its zero point is {int(zero[zero != 0].flat[0])}; it must be 0"
    if not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        yield f"{name}: its scales must be finite and above 0"
    if zero.size != scale.size:
        yield f"{name}: it has {scale.size} scales but {zero.size} zero points"
    if node.op_type == "QuantizeLinear":
        if node.input[0] not in graph.initializers and scale.size != 1:
            yield f"{name}: it has a scale per channel; an activation must have one for the whole tensor"
        if any(consumer.op_type != "DequantizeLinear" for consumer in graph.consumers(node.output[0])):
            yield f"{name}: its integers must be read by DequantizeLinear only"
    elif graph.producers.get(node.input[0], node).op_type != "QuantizeLinear":
        yield f"{name}: its input must come from a QuantizeLinear; TensorRT 8 takes no int8 constants"


def _quantized_weight(graph: _Graph, node: onnx.NodeProto, sm: tuple[int, int] | None) -> Iterator[str]:
    """Quantized weights have a scale per output channel: axis 0 of a Conv, axis 1 of a ConvTranspose."""
    dequantize = graph.producers.get(node.input[1])
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return
    if node.op_type == "Conv" and attribute(node, "kernel_shape", None) is None:
        yield f"{_name(node)}: it has quantized weights and no kernel_shape"
    scale = graph.initializers.get(dequantize.input[1])
    axis, output_axis = attribute(dequantize, "axis", 1), 0 if node.op_type == "Conv" else 1
    if scale is not None and scale.size > 1 and axis != output_axis:
        yield f"{_name(node)}: its weights are quantized along axis {axis}; it must be axis {output_axis}"
    if node.op_type == "ConvTranspose" and sm is not None and sm < INT8_DECONVOLUTION_SM:
        has, needs = (f"{major}.{minor}" for major, minor in (sm, INT8_DECONVOLUTION_SM))
        yield (
            f"{_name(node)}: an INT8 transposed convolution needs compute capability {needs}, and this GPU has {has}; "
            "use the phase form"
        )


def _mode(node: onnx.NodeProto, default: bytes, supported: frozenset[str]) -> Iterator[str]:
    mode = attribute(node, "mode", default).decode()
    if mode not in supported:
        yield f"{_name(node)}: {node.op_type} mode {mode} is not supported"


def _instance_norm(graph: _Graph, node: onnx.NodeProto, own_norms: bool) -> Iterator[str]:
    if not all(name in graph.initializers for name in node.input[1:]):
        yield f"{_name(node)}: scale and shift of an InstanceNormalization must be initializers"
    elif not own_norms:
        yield f"{_name(node)}: up to 8.6.0, TensorRT has InstanceNormalization only as a plugin that needs cuDNN"


def _is_constant(graph: _Graph, tensor: str) -> bool:
    producer = graph.producers.get(tensor)
    return tensor in graph.initializers or (producer is not None and producer.op_type == "Constant")


def _name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
