"""A precision asked for → a graph that holds it, with its record."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from conftest import SMALL
from onnx import numpy_helper

from nstopt.calib.picture_sets import from_folder
from nstopt.calib.precision import Calibration, Precise, to_precision, tried
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.search import Candidate, QualityTarget, Recipe
from nstopt.engines.tensorrt.lowering import precision_of
from nstopt.errors import CalibrationError
from nstopt.precisions import parts
from nstopt.progress import Silent

from .conftest import MakeGraph, render


def convert(model: onnx.ModelProto, precision: str, photos: Path | None = None) -> Precise:
    pictures = from_folder(photos) if photos else None
    calibration = Calibration(pictures, SMALL, 1, Int8Inputs(("Conv",)), render, "onnxruntime", QualityTarget(0, 0))
    return to_precision(model, precision, calibration, Silent())


def test_fp32_is_the_graph_itself(make_graph: MakeGraph) -> None:
    model = make_graph("johnson")
    precise = convert(model, "fp32")
    assert precise.model is model
    assert (set(precise.layers.values()), precise.calibration) == ({"fp32"}, None)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-fp16"])
def test_the_record(make_graph: MakeGraph, photos: Path, precision: str) -> None:
    precise = convert(make_graph("johnson"), precision, photos)
    assert set(precise.layers.values()) == {parts(precision)[0]}
    assert precision_of(precise.model.SerializeToString()) == precision
    assert len(precise.layers) == 8
    if precision == "fp16":
        assert precise.calibration is None
        return
    assert precise.calibration
    calibration = precise.calibration
    assert (calibration.source, calibration.pictures) == (str(photos), 6)
    assert calibration.sha256 == from_folder(photos).sha256
    assert all("all int8" in candidate.recipe for candidate in precise.search)


def test_the_front_holds_what_nothing_beats() -> None:
    def candidate(latency_ms: float, mean_db: float) -> Candidate:
        return Candidate(Recipe((0.5,), levels={"last": "int8x2"}), mean_db, mean_db - 1, latency_ms)

    found = tried([candidate(5, 40), candidate(4, 39), candidate(6, 40), candidate(7, 42), candidate(4, 38)])
    assert [(one.latency_ms, one.psnr_db_mean) for one in found if one.on_front] == [(4, 39), (5, 40), (7, 42)]
    assert len(found) == 5
    assert found[0].recipe == "equalized 0.5; last int8x2"


def test_int8_without_pictures_is_refused(make_graph: MakeGraph) -> None:
    with pytest.raises(CalibrationError, match=r"INT8 needs pictures .* give a folder of photographs with --calib"):
        convert(make_graph("johnson"), "int8")


def test_activations_that_are_not_finite_are_refused(make_graph: MakeGraph, photos: Path) -> None:
    model = make_graph("johnson")
    (first, *_) = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first) * float("inf"), first.name))
    with pytest.raises(CalibrationError, match="the net gives no finite numbers on these pictures"):
        convert(model, "int8", photos)
