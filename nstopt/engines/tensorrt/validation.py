"""What TensorRT asks of a graph, checked on the CPU before every build.

TensorRT's own parser says some of this minutes later, some as an assertion without a name, and some not at all. The
rules are those of 8.5, the strictest line; all later ones take what it takes. Sources: onnx-tensorrt 8.5-GA
(docs/operators.md, and QuantDequantLinearHelper in builtin_op_importers.cpp) and the 8.6 developer guide, "Explicit
Quantization".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from nstopt.errors import BuildError
from nstopt.graph.nodes import initializers, producers

MAX_OPSET = 17
SHOWN = 3
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
# Marked Y in docs/operators.md of onnx-tensorrt 8.5, as far as pictures need them.
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
PAD_MODES = frozenset({"constant", "reflect", "edge"})
RESIZE_MODES = frozenset({"nearest", "linear"})
# The first compute capability with INT8 transposed convolutions.
INT8_TRANSPOSED_SM = (7, 2)


@dataclass(frozen=True)
class _Graph:
    """A graph and what the rules look up in it. `readers` are the nodes that read a tensor."""

    nodes: tuple[onnx.NodeProto, ...]
    made_by: dict[str, onnx.NodeProto]
    constants: dict[str, NDArray[np.generic]]
    kinds: dict[str, int]
    ends: frozenset[str]

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        return [node for node in self.nodes if tensor in node.input]


def check(model: onnx.ModelProto, sm: tuple[int, int] | None = None, own_norms: bool = False) -> None:
    """Raise BuildError if TensorRT, from 8.5 on, could not take `model` (shapes inferred) as it is meant. `sm` is the
    compute capability of the GPU it is for. With `own_norms`, from 10 on, InstanceNormalization is taken too."""
    found = list(violations(model, sm, own_norms))
    if found:
        more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
        raise BuildError(f"TensorRT cannot take this graph: {'; '.join(found[:SHOWN])}{more}")


def violations(model: onnx.ModelProto, sm: tuple[int, int] | None = None, own_norms: bool = False) -> Iterator[str]:
    """Every rule that `model` breaks, with the node's name."""
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    ends = frozenset(port.name for port in (*graph.input, *graph.output))
    read = _Graph(tuple(graph.node), producers(graph), initializers(graph), kinds, ends)
    yield from _opset(model)
    yield from _operators(read)
    yield from _bytes(read)
    for node in read.nodes:
        if node.op_type in QUANTIZERS:
            yield from _quantizer(read, node)
        elif node.op_type in ("Conv", "ConvTranspose"):
            yield from _weight_axis(read, node)
            yield from _transposed_int8(read, node, sm)
        elif node.op_type == "Resize":
            yield from _resize(read, node)
        elif node.op_type == "InstanceNormalization":
            yield from _norm(read, node, own_norms)
        elif node.op_type == "Slice" and len(node.input) > 3 and node.input[3] and not _known(read, node.input[3]):
            yield f"{_name(node)}: the axes of a Slice must be constants"
        elif node.op_type == "Pad" and _text(node, "mode", "constant") not in PAD_MODES:
            yield f"{_name(node)}: Pad mode {_text(node, 'mode', 'constant')}"


def _opset(model: onnx.ModelProto) -> Iterator[str]:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > MAX_OPSET:
            yield f"opset {entry.version}, above {MAX_OPSET}"


def _operators(graph: _Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield f"{_name(node)}: operator {node.domain}.{node.op_type} is of no standard domain"
        elif node.op_type not in OPERATORS:
            yield f"{_name(node)}: operator {node.op_type} is not supported"


def _bytes(graph: _Graph) -> Iterator[str]:
    """uint8 at the graph's ends only, behind a Cast. Quantizers have a rule of their own."""
    for node in graph.nodes:
        if node.op_type in QUANTIZERS:
            continue
        read = [name for name in node.input if graph.kinds.get(name) == TensorProto.UINT8]
        made = [name for name in node.output if graph.kinds.get(name) == TensorProto.UINT8]
        if (read or made) and (node.op_type != "Cast" or not graph.ends.issuperset([*read, *made])):
            yield f"{_name(node)}: {node.op_type} on uint8, which only a Cast at the graph's ends may be"


def _quantizer(graph: _Graph, node: onnx.NodeProto) -> Iterator[str]:
    if len(node.input) != 3 or not all(name in graph.constants for name in node.input[1:]):
        yield f"{_name(node)}: scale and zero point must be constants"
        return
    scale, zero = graph.constants[node.input[1]].astype(np.float32), graph.constants[node.input[2]]
    if zero.dtype != np.int8:
        yield f"{_name(node)}: quantizes to {zero.dtype}; only int8 is known"
    if np.any(zero != 0):
        yield f"{_name(node)}: zero point {int(zero.ravel()[np.argmax(zero.ravel() != 0)])}; it must be 0"
    if not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        yield f"{_name(node)}: a scale that is not above 0"
    if zero.size != scale.size:
        yield f"{_name(node)}: {scale.size} scales and {zero.size} zero points"
    if node.op_type == "QuantizeLinear":
        if node.input[0] not in graph.constants and scale.size != 1:
            yield f"{_name(node)}: a scale per channel for an activation; it must be one for the whole tensor"
        if any(reader.op_type != "DequantizeLinear" for reader in graph.readers(node.output[0])):
            yield f"{_name(node)}: something else than a DequantizeLinear reads the integers"
    elif graph.made_by.get(node.input[0], node).op_type != "QuantizeLinear":
        yield f"{_name(node)}: int8 constants; TensorRT 8 wants float ones with a QuantizeLinear"


def _weight_axis(graph: _Graph, node: onnx.NodeProto) -> Iterator[str]:
    """One scale per output channel: axis 0 of a convolution, 1 of a transposed one."""
    pair = graph.made_by.get(node.input[1])
    if pair is None or pair.op_type != "DequantizeLinear":
        return
    scale, wanted = graph.constants.get(pair.input[1]), 0 if node.op_type == "Conv" else 1
    axis = next((attribute.i for attribute in pair.attribute if attribute.name == "axis"), 1)
    if scale is not None and scale.size > 1 and axis != wanted:
        yield f"{_name(node)}: its weights are quantized along axis {axis}, not {wanted}"


def _transposed_int8(graph: _Graph, node: onnx.NodeProto, sm: tuple[int, int] | None) -> Iterator[str]:
    pair = graph.made_by.get(node.input[1])
    quantized = pair is not None and pair.op_type == "DequantizeLinear"
    if node.op_type == "ConvTranspose" and quantized and sm is not None and sm < INT8_TRANSPOSED_SM:
        yield f"{_name(node)}: no INT8 transposed convolution on compute capability {sm[0]}.{sm[1]}; use the phase form"


def _resize(graph: _Graph, node: onnx.NodeProto) -> Iterator[str]:
    if graph.made_by.get(node.input[0], node).op_type in QUANTIZERS:
        yield f"{_name(node)}: a quantized input of a Resize"
    if _text(node, "mode", "nearest") not in RESIZE_MODES:
        yield f"{_name(node)}: Resize mode {_text(node, 'mode', 'nearest')}"


def _norm(graph: _Graph, node: onnx.NodeProto, own_norms: bool) -> Iterator[str]:
    if not all(name in graph.constants for name in node.input[1:]):
        yield f"{_name(node)}: scale and shift of an InstanceNormalization must be initializers"
    elif not own_norms:
        yield f"{_name(node)}: an InstanceNormalization, which TensorRT 8 has in a plugin that needs cuDNN"


def _known(graph: _Graph, tensor: str) -> bool:
    made = graph.made_by.get(tensor)
    return tensor in graph.constants or (made is not None and made.op_type == "Constant")


def _text(node: onnx.NodeProto, name: str, default: str) -> str:
    return next((attribute.s.decode() for attribute in node.attribute if attribute.name == name), default)


def _name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
