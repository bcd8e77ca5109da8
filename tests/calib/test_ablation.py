"""Ablation: variants differ, and the parts that matter most cost most."""

from __future__ import annotations

from pathlib import Path

from conftest import SMALL

from nstopt.calib.ablation import ablate
from nstopt.calib.calibrate import Calibration
from nstopt.calib.picture_sets import from_folder, split
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.search import QualityTarget
from nstopt.progress import Silent

from .conftest import MakeGraph, render


def test_variants_are_measured_on_held_out_pictures(make_graph: MakeGraph, photos: Path) -> None:
    model = make_graph("fast-style")
    pictures, held_out = split(from_folder(photos))
    calibration = Calibration(pictures, SMALL, 1, Int8Inputs(("Conv",)), render, "onnxruntime", QualityTarget(0, 0))
    found = ablate(model, calibration, held_out, {"itself": model}, Silent())
    psnr = {one.variant: one.psnr_db_mean for one in found}
    assert next(iter(psnr)) == "the recipe found"
    assert "every layer in one INT8 convolution" not in psnr  # nothing was raised
    assert psnr["itself"] == 100
    assert psnr["zero points of 0, without the offset"] < psnr["zero points of 0, with the exact offset"] - 1
    assert psnr["min-max ranges"] != psnr["weights rounded to the nearest"] != psnr["no equalization"]
    assert all(20 < one.psnr_db_worst <= one.psnr_db_mean for one in found)
