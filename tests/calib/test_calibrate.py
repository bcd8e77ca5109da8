"""The INT8 graph of an FP32 one, and the record of how it was found."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from conftest import SMALL
from onnx import numpy_helper

from nstopt.calib.calibrate import Calibration, Quantized, calibrate, tried
from nstopt.calib.picture_sets import from_folder
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.recipe import Recipe
from nstopt.calib.search import Candidate, QualityTarget
from nstopt.engines.tensorrt.lowering import precision_of
from nstopt.errors import CalibrationError
from nstopt.progress import Silent

from .conftest import MakeGraph, render


def convert(model: onnx.ModelProto, photos: Path) -> Quantized:
    pictures = from_folder(photos)
    inputs, target = Int8Inputs(("Conv",)), QualityTarget(0, 0)
    return calibrate(model, Calibration(pictures, SMALL, 1, inputs, render, "onnxruntime", target), Silent())


def test_the_record(make_graph: MakeGraph, photos: Path) -> None:
    quantized = convert(make_graph("johnson"), photos)
    assert set(quantized.layers.values()) == {"int8"}
    assert precision_of(quantized.model.SerializeToString()) == "int8"
    assert len(quantized.layers) == 8
    calibration = quantized.calibration
    assert (calibration.source, calibration.pictures) == (str(photos), 6)
    assert calibration.sha256 == from_folder(photos).sha256
    assert calibration.coverage.keys() == {"dark", "bright", "flat", "busy"}
    assert all("all int8" in candidate.recipe for candidate in quantized.search)


def test_the_front_holds_what_nothing_beats() -> None:
    def candidate(latency_ms: float, mean_db: float) -> Candidate:
        return Candidate(Recipe((0.5,), levels={"last": "int8x2"}), mean_db, mean_db - 1, latency_ms)

    found = tried([candidate(5, 40), candidate(4, 39), candidate(6, 40), candidate(7, 42), candidate(4, 38)])
    assert [(one.latency_ms, one.psnr_db_mean) for one in found if one.on_front] == [(4, 39), (5, 40), (7, 42)]
    assert len(found) == 5
    assert found[0].recipe == "equalized 0.5; last int8x2"


def test_activations_that_are_not_finite_are_refused(make_graph: MakeGraph, photos: Path) -> None:
    model = make_graph("johnson")
    (first, *_) = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first) * float("inf"), first.name))
    with pytest.raises(CalibrationError, match="the net gives no finite numbers on these pictures"):
        convert(model, photos)
