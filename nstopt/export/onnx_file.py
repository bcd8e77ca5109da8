"""Read and check an ONNX file, and determine what input it takes."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from nstopt.errors import ExportError, first_line
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file. Raises ExportError if it is missing or not a valid ONNX graph."""
    if not path.is_file():
        raise ExportError(f"{path}: no such file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, onnx and the file system each raise their own errors
        raise ExportError(f"{path}: not a valid ONNX file ({first_line(error)})") from error
    return model


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


def fixed_shape(model: onnx.ModelProto, path: Path) -> InputShape:
    """Return the batch, height and width that a float NCHW net is fixed to; None for each that is dynamic.

    Raises ExportError unless the graph has one input and one output, both float32 [N, 3, H, W].
    """
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
    return InputShape.of(batch, Size(height, width) if height and width else None)


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the graph's inputs without the weights, which old files list among them."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]
