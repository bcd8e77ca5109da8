"""An ONNX file, read and checked, and whether it is a net of pictures."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from nstopt.bundle import InputShape
from nstopt.errors import ExportError
from nstopt.pictures.size import Size


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file. Raises ExportError if it is missing or not a valid ONNX graph."""
    if not path.is_file():
        raise ExportError(f"{path}: no such file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, onnx and the file system each raise their own
        reason = str(error).strip().splitlines()
        raise ExportError(f"{path}: not a valid ONNX file ({reason[0] if reason else type(error).__name__})") from error
    return model


def fulfills_contract(model: onnx.ModelProto) -> bool:
    """Whether the graph already takes and gives uint8 [N, H, W, 3]."""
    ends = [graph_inputs(model.graph), list(model.graph.output)]
    return all(
        len(values) == 1
        and values[0].type.tensor_type.elem_type == TensorProto.UINT8
        and len(dims := values[0].type.tensor_type.shape.dim) == 4
        and dims[3].dim_value == 3
        for values in ends
    )


def fixed_shape(model: onnx.ModelProto, path: Path) -> InputShape:
    """The batch, height and width a float NCHW net takes; None where it takes any.

    Raises ExportError if the graph is no image net: one float32 input and one output, [N, 3, H, W] each.
    """
    inputs, outputs = graph_inputs(model.graph), list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"{path}: not an image-to-image net: {len(inputs)} inputs and {len(outputs)} outputs, wanted one of each"
        )
    for value in (inputs[0], outputs[0]):
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        if tensor.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1].dim_value not in (0, 3):
            shape = [dim.dim_value or dim.dim_param or "?" for dim in dims]
            raise ExportError(
                f"{path}: not an image-to-image net: '{value.name}' is {TensorProto.DataType.Name(tensor.elem_type)} "
                f"{shape}; wanted FLOAT [N, 3, H, W]"
            )
    batch, height, width = (inputs[0].type.tensor_type.shape.dim[axis].dim_value or None for axis in (0, 2, 3))
    return InputShape.of(batch, Size(height, width) if height and width else None)


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Real inputs: old files list their weights among the inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]
