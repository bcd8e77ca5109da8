"""Ablation of INT8: the recipe that a search finds, and variants of it without one part each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx

from nstopt.calib.calibrate import Calibration, collect_from_set
from nstopt.calib.int8 import INT8_OUT, quantized_tensors
from nstopt.calib.picture_sets import PictureSet
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import SYMMETRIC, Int8Inputs, QuantScheme
from nstopt.calib.recipe import Recipe
from nstopt.calib.search import Search
from nstopt.progress import Progress


class AblationResult(NamedTuple):
    """A variant of INT8 and its PSNR against FP32 in dB over the held-out pictures."""

    variant: str
    psnr_db_mean: float
    psnr_db_worst: float


class _WithoutOffset(Int8Inputs):
    """Symmetric int8 without the exact offset, as generic tools have it."""

    def scheme(self, readers: Sequence[onnx.NodeProto]) -> QuantScheme:
        return QuantScheme.SYMMETRIC


def ablate(
    model: onnx.ModelProto,
    calibration: Calibration,
    held_out: PictureSet,
    others: Mapping[str, onnx.ModelProto],
    progress: Progress,
) -> list[AblationResult]:
    """Search INT8 for FP32 `model` on the calibration pictures, and measure the recipe and its variants on `held_out`.

    The recipe found comes first. `others` are INT8 graphs of the same net by other tools, by name; they come last.
    Raises CalibrationError if the net gives no finite activations on the pictures.
    """
    stats, compared, _ = collect_from_set(model, calibration, progress)
    search = Search(
        model,
        stats,
        calibration.inputs,
        calibration.render,
        compared,
        finish=calibration.finish,
        level_cost=calibration.level_cost,
    )
    best = search.run(calibration.target, progress).recipe
    validation = list(held_out.load(calibration.size))
    reference, _ = calibration.render(model, validation)
    progress.step("measuring each variant")

    def on_held_out(inputs: Int8Inputs) -> Search:
        return Search(model, stats, inputs, calibration.render, validation, reference, calibration.finish)

    ours = on_held_out(calibration.inputs)
    results = [_measured(variant, ours, recipe) for variant, recipe in _variants(best, quantized_tensors(model.graph))]
    floats = replace(best, levels=best.beyond_int8)  # the devices that need zero points of 0 have no such norms
    results += [
        _measured("zero points of 0, with the exact offset", on_held_out(SYMMETRIC), floats),
        _measured("zero points of 0, without the offset", on_held_out(_WithoutOffset(())), floats),
    ]
    for name, other in others.items():
        rendered, _ = calibration.render(other, validation)
        psnr = [psnr_db(a, b) for a, b in zip(rendered, reference, strict=True)]
        results.append(AblationResult(name, float(np.mean(psnr)), min(psnr)))
    return results


def _variants(best: Recipe, tensors: Iterable[str]) -> list[tuple[str, Recipe]]:
    count = len(best.exponents)
    variants = [
        ("the recipe found", best),
        ("weights rounded to the nearest", replace(best, gptq=False)),
        ("min-max ranges", replace(best, min_max=frozenset(tensors))),
        ("no equalization", replace(best, exponents=(None,) * count)),
        ("equalized by 0.5, not searched", replace(best, exponents=(0.5,) * count)),
    ]
    if best.writing_int8:
        variants.append(("norms that read floats", replace(best, levels=best.beyond_int8)))
    if best.beyond_int8:
        levels = dict.fromkeys(best.writing_int8, INT8_OUT)
        variants.append(("every layer in one INT8 convolution", replace(best, levels=levels)))
    return variants


def _measured(variant: str, search: Search, recipe: Recipe) -> AblationResult:
    found = search.evaluate(recipe)
    return AblationResult(variant, found.mean_db, found.worst_db)
