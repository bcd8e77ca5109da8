"""What each part of INT8 is worth: the recipe that a search found without one part after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx

from nstopt.calib.calibrate import Calibration, collect_from_set
from nstopt.calib.picture_sets import PictureSet
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import SYMMETRIC, Int8Inputs, QuantScheme
from nstopt.calib.search import Recipe, Search
from nstopt.progress import Progress


class Ablated(NamedTuple):
    """A way to INT8, and its PSNR in dB against FP32 over the held-out pictures."""

    way: str
    psnr_db_mean: float
    psnr_db_worst: float


class _Unshifted(Int8Inputs):
    """Symmetric int8 without the exact offset, as generic tools have it."""

    def grid(self, readers: Sequence[onnx.NodeProto]) -> QuantScheme:
        return QuantScheme.SYMMETRIC


def ablate(
    model: onnx.ModelProto,
    calibration: Calibration,
    held_out: PictureSet,
    others: Mapping[str, onnx.ModelProto],
    progress: Progress,
) -> list[Ablated]:
    """Search INT8 for FP32 `model` on the calibration pictures, then judge the recipe, and it without one part after
    the other, on `held_out`; and `others`, INT8 graphs of the same net by other tools. Raises CalibrationError."""
    seen, compared, _ = collect_from_set(model, calibration, progress)
    best = (
        Search(model, seen, calibration.inputs, calibration.render, compared).run(calibration.target, progress).recipe
    )
    shown = list(held_out.load(calibration.size))
    progress.step("judging each part")

    def search(inputs: Int8Inputs) -> Search:
        return Search(model, seen, inputs, calibration.render, shown)

    ours = search(calibration.inputs)
    found = [_judged(way, ours, recipe) for way, recipe in _without(best, ours.tensors)]
    found += [
        _judged("zero points of 0, with the exact offset", search(SYMMETRIC), best),
        _judged("zero points of 0, without the offset", search(_Unshifted(())), best),
    ]
    reference, _ = calibration.render(model, shown)
    for name, other in others.items():
        images, _ = calibration.render(other, shown)
        noise = [psnr_db(a, b) for a, b in zip(images, reference, strict=True)]
        found.append(Ablated(name, float(np.mean(noise)), min(noise)))
    return found


def _without(best: Recipe, tensors: frozenset[str]) -> list[tuple[str, Recipe]]:
    count = len(best.exponents)
    ways = [
        ("the recipe found", best),
        ("weights to the nearest", replace(best, feedback=False)),
        ("ranges from end to end", replace(best, whole=tensors)),
        ("no equalization", replace(best, exponents=(None,) * count)),
        ("equalized by 0.5, not searched", replace(best, exponents=(0.5,) * count)),
    ]
    return [*ways, ("every layer in one INT8 convolution", replace(best, levels={}))] if best.levels else ways


def _judged(way: str, search: Search, recipe: Recipe) -> Ablated:
    candidate = search.judge(recipe)
    return Ablated(way, candidate.mean_db, candidate.worst_db)
