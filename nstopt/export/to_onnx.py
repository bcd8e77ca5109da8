"""Export a picture module to ONNX opset 17 and to TorchScript, for one size or for any."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor

from nstopt.errors import ExportError, first_line
from nstopt.export.contract import PictureModule
from nstopt.export.opset import OPSET, to_opset_17
from nstopt.pictures.size import MIN_SIDE, Size

INPUT, OUTPUT = "image", "stylized"
# The sides differ, and batches are above one, so that the tracer does not mistake a dimension for a constant.
EXAMPLE_SIZE = Size(96, 80)


def to_onnx(module: PictureModule, size: Size | None) -> onnx.ModelProto:
    """Export to an ONNX graph from `image`, uint8 [N, H, W, 3], to `stylized`, of the same type and shape.

    N is dynamic; H and W are too if `size` is None. Raises ExportError if torch cannot express the net as such a graph.
    """
    example = _example(size)
    batch, height, width = torch.export.Dim("N"), *(torch.export.Dim(side, min=MIN_SIDE) for side in "HW")
    free = {0: batch} if size else {0: batch, 1: height, 2: width}
    try:
        with _quiet():
            if _is_torchscript(module.net):
                model = _export_torchscript(module, example, free)
            else:
                program = torch.onnx.export(
                    module,
                    (example,),
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    opset_version=18,  # the exporter's oldest; lowered below
                    dynamo=True,
                    dynamic_shapes=(free,),
                    verbose=False,
                )
                assert program is not None
                model = program.model_proto
    except Exception as error:
        raise ExportError(f"torch cannot export this net to ONNX: {first_line(error)}") from error
    return name_dimensions(to_opset_17(model), size)


def _example(size: Size | None) -> Tensor:
    height, width = size or EXAMPLE_SIZE
    return torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)


def _is_torchscript(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _export_torchscript(module: PictureModule, example: Tensor, free: Mapping[int, object]) -> onnx.ModelProto:
    """Export a net that is a TorchScript program: it has no Python to trace, so only torch's older exporter works."""
    axes = {axis: name for axis, name in enumerate("NHW") if axis in free}
    buffer = io.BytesIO()
    torch.onnx.export(
        torch.jit.trace(module, example),
        (example,),
        buffer,  # type: ignore[arg-type]  # its stub forgets files
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        dynamo=False,
        dynamic_axes={INPUT: axes, OUTPUT: axes},
    )
    return onnx.load_from_string(buffer.getvalue())


def name_dimensions(model: onnx.ModelProto, size: Size | None, batch: int | None = None) -> onnx.ModelProto:
    """Set the shapes of input and output to the contract's, and check the graph.

    Exporters write an expression of H for the output's height. Raises ExportError if the graph is not valid in opset
    17.
    """
    height, width = size or ("H", "W")
    for value in (model.graph.input[0], model.graph.output[0]):
        shape = value.type.tensor_type.shape
        for dimension, what in zip(shape.dim, (batch or "N", height, width, 3), strict=True):
            dimension.Clear()
            setattr(dimension, "dim_value" if isinstance(what, int) else "dim_param", what)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker and shape inference each raise their own errors
        raise ExportError(f"the graph is not valid in opset {OPSET}: {first_line(error)}") from error
    return model


def to_torchscript(module: PictureModule, path: Path, size: Size | None) -> None:
    """Trace to a TorchScript file with the same contract, for any size; `size` is that of the traced example.

    Raises ExportError if torch cannot trace the net, OSError if `path` cannot be written.
    """
    try:
        with _quiet():
            traced = torch.jit.trace(module, _example(size))
            buffer = io.BytesIO()
            torch.jit.save(traced, buffer)
    except Exception as error:
        raise ExportError(f"torch cannot trace this net to TorchScript: {first_line(error)}") from error
    path.write_bytes(buffer.getvalue())  # torch's own writer raises no OSError on a full disk


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters: they warn of their own deprecations and of missing torchvision, not of the user's net."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
