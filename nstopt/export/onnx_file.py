"""Read and check an ONNX file, and determine what input it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from nstopt.errors import ExportError, translated
from nstopt.files import check_regular
from nstopt.manifest import InputShape
from nstopt.pictures.size import MAX_SIDE, Size

MAX_NODES = 5000
MAX_BATCH = 4096


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file. Raises ExportError if it is missing or not a valid ONNX graph."""
    if not path.exists():
        raise ExportError(f"{path}: no such file")
    with translated(ExportError, f"{path}: not a valid ONNX file"):
        check_regular(path)
        model = onnx.load(path)
        _check_counts(model, path)
        onnx.checker.check_model(model)
        for tensor in _constants(model.graph):
            _check_finite(tensor, path)
    return model


def _check_counts(model: onnx.ModelProto, path: Path) -> None:
    """Raise ExportError if the graph has functions of its own or too many nodes, those of branches and loops included:
    tools take time that grows faster than their number."""
    if model.functions:
        raise ExportError(f"{path}: has functions of its own: inline them (onnx.inliner.inline_local_functions)")
    graphs, nodes = [model.graph], 0
    while graphs:
        graph = graphs.pop()
        nodes += len(graph.node)
        if nodes > MAX_NODES:
            raise ExportError(f"{path}: has more than {MAX_NODES} nodes, which no style net has")
        inner = (attribute for node in graph.node for attribute in node.attribute)
        graphs += [one for attribute in inner for one in (*attribute.graphs, attribute.g) if one.node]


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Return the weights, and the tensors in Constant nodes."""
    yield from graph.initializer
    yield from (
        one.t for node in graph.node if node.op_type == "Constant" for one in node.attribute if one.HasField("t")
    )


def _check_finite(tensor: onnx.TensorProto, path: Path) -> None:
    values = numpy_helper.to_array(tensor)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ExportError(f"{path}: {tensor.name} holds numbers that are NaN or infinite: the training diverged")


def fulfills_contract(model: onnx.ModelProto) -> bool:
    """Return True if the graph's single input and output are uint8 [N, H, W, 3] already."""
    ends = [graph_inputs(model.graph), list(model.graph.output)]
    return all(
        len(values) == 1
        and values[0].type.tensor_type.elem_type == TensorProto.UINT8
        and len(dims := values[0].type.tensor_type.shape.dim) == 4
        and dims[3].dim_value == 3
        for values in ends
    )


def fixed_picture_shape(model: onnx.ModelProto) -> InputShape:
    """Return the batch, height and width that a graph which fulfills the contract is fixed to; None for each that is
    dynamic. Raises ExportError if a number is out of range."""
    batch, height, width = (dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[:3])
    if not (0 <= batch <= MAX_BATCH and 0 <= height <= MAX_SIDE and 0 <= width <= MAX_SIDE):
        raise ExportError(f"the graph takes pictures of {batch}x{height}x{width}, larger than any engine's")
    return InputShape.of(batch or None, Size(height, width) if height and width else None)


def fixed_shape(model: onnx.ModelProto, path: Path) -> InputShape:
    """Return the batch, height and width that a float NCHW net is fixed to; None for each that is dynamic.

    Raises ExportError unless the graph has one input and one output, both float32 [N, 3, H, W].
    """
    with translated(ExportError, f"{path}: not an image-to-image net"):
        return _fixed_shape(model, path)


def _fixed_shape(model: onnx.ModelProto, path: Path) -> InputShape:
    inputs, outputs = graph_inputs(model.graph), list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"{path}: not an image-to-image net: {len(inputs)} inputs and {len(outputs)} outputs, not one of each"
        )
    for value in (inputs[0], outputs[0]):
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        if tensor.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1].dim_value not in (0, 3):
            shape = [dim.dim_value or dim.dim_param or "?" for dim in dims]
            raise ExportError(
                f"{path}: not an image-to-image net: '{value.name}' is {TensorProto.DataType.Name(tensor.elem_type)} "
                f"{shape}, not FLOAT [N, 3, H, W]"
            )
    batch, height, width = (inputs[0].type.tensor_type.shape.dim[axis].dim_value or None for axis in (0, 2, 3))
    if max(batch or 0, height or 0, width or 0) > MAX_SIDE or min(batch or 1, height or 1, width or 1) < 1:
        raise ExportError(f"{path}: takes {batch}x{height}x{width} (batch, height, width), out of range")
    return InputShape.of(batch, Size(height, width) if height and width else None)


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the graph's inputs without the weights, which old files list among them."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]
