"""FP32 graph → graph of the precision asked for, and the record of how it was made."""

from __future__ import annotations

from typing import NamedTuple

import onnx

from nstopt.bundle import CalibrationInfo
from nstopt.calib.fp16 import to_fp16
from nstopt.calib.int8 import quantise, quantised_tensors
from nstopt.calib.observe import observe
from nstopt.calib.pictures import PictureSet
from nstopt.calib.ranges import best_range
from nstopt.errors import CalibrationError
from nstopt.graph.nodes import multiplying
from nstopt.progress import Progress
from nstopt.size import Size

PRECISIONS = ("fp32", "fp16", "int8")
INT8_METHOD = "asymmetric uint8 inputs of multiplying, least mean squared error per layer; int8 weights per channel"


class Precise(NamedTuple):
    """`layers`: precision of each convolution by name; `calibration` is None but for INT8."""

    model: onnx.ModelProto
    layers: dict[str, str]
    calibration: CalibrationInfo | None


def to_precision(
    model: onnx.ModelProto,
    precision: str,
    free_zero_point: frozenset[str],
    pictures: PictureSet | None,
    size: Size,
    batch: int,
    progress: Progress,
) -> Precise:
    """Put `precision` into FP32 `model` (I/O contract, shapes inferred, multiplying named).

    INT8 inputs of the operators in `free_zero_point` take any zero point, those of others 0. INT8 runs the model on
    `pictures`, resampled to `size`. Raises CalibrationError if INT8 has no pictures, or if the net gives no finite
    activations on them.
    """
    layers = {node.name: precision for node in multiplying(model.graph)}
    if precision == "fp16":
        return Precise(to_fp16(model), layers, None)
    if precision != "int8":
        return Precise(model, layers, None)
    if pictures is None:
        raise CalibrationError("INT8 needs pictures to find its ranges from: give a folder of photographs with --calib")
    count = len(pictures.pictures)
    loaded = progress.track(pictures.load(size), count, "calibrating")
    tensors = quantised_tensors(model.graph)
    try:
        histograms = observe(model, tensors, loaded, batch)
    except ValueError as error:
        raise CalibrationError(
            f"{pictures.source}: the net gives no finite numbers on these pictures: {error}"
        ) from error
    ranges = {name: best_range(seen, not tensors[name] <= free_zero_point) for name, seen in histograms.items()}
    record = CalibrationInfo(pictures.source, pictures.sha256, count, INT8_METHOD)
    return Precise(quantise(model, ranges), layers, record)
