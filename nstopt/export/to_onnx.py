"""A picture module → ONNX opset 17 and TorchScript, of one size or of any."""

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

from nstopt.errors import ExportError
from nstopt.export.contract import PictureModule, first_line
from nstopt.export.opset import OPSET, to_opset_17
from nstopt.pictures.size import MIN_SIDE, Size

INPUT, OUTPUT = "image", "stylized"
# Two different sides and a batch above one, so that the tracer takes none of them for a constant.
EXAMPLE_SIZE = Size(96, 80)


def to_onnx(module: PictureModule, size: Size | None) -> onnx.ModelProto:
    """Export to ONNX: `image` uint8 [N, H, W, 3] → `stylized`, the same shape. N is free; H and W too if `size` is
    None.

    Raises ExportError if the net does something that no ONNX graph of that size can say.
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
    """A net that comes as TorchScript has no Python to trace, so only torch's older exporter can read it."""
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
    """State the contract's shape on both ends (exporters write an expression of H for the output's height), and
    check. Raises ExportError if the graph is not valid in opset 17."""
    height, width = size or ("H", "W")
    for value in (model.graph.input[0], model.graph.output[0]):
        shape = value.type.tensor_type.shape
        for dimension, what in zip(shape.dim, (batch or "N", height, width, 3), strict=True):
            dimension.Clear()
            setattr(dimension, "dim_value" if isinstance(what, int) else "dim_param", what)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker and shape inference each raise their own
        raise ExportError(f"the graph is not valid in opset {OPSET}: {first_line(error)}") from error
    return model


def to_torchscript(module: PictureModule, path: Path, size: Size | None) -> None:
    """Trace to a TorchScript file with the same contract; it takes any size. Raises ExportError, or OSError if `path`
    cannot be written."""
    try:
        with _quiet():
            traced = torch.jit.trace(module, _example(size))
            buffer = io.BytesIO()
            torch.jit.save(traced, buffer)
    except Exception as error:
        raise ExportError(f"torch cannot trace this net to TorchScript: {first_line(error)}") from error
    path.write_bytes(buffer.getvalue())  # torch's own writer has no OSError for a full disk


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of their own deprecations and of absent torchvision; nothing there is for the user to act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
