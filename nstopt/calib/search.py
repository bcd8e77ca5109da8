"""Search for the equalization, the ranges, the rounding and the layers beyond INT8, by the error of the picture.

The error of a layer says little about the error of the picture, so every candidate is built, run on pictures and
compared with the reference. The steps, in order:

1. one equalization exponent for all streams;
2. weights rounded to the nearest instead of by GPTQ, and min-max instead of MSE ranges, where that is better;
3. while the target is not met: the exponent of each stream, then the range of each tensor;
4. while the target is not met: the levels beyond INT8, the cheapest first, for the layers that gain most decibels for
   their multiply-adds: a second INT8 convolution (`int8x2`), or no quantization (`fp32`, or `bf16` where the engine
   computes in BF16 between its INT8 convolutions);
5. once it is met: raised layers that are superfluous by then go back, the most expensive first;
6. while it stays met by a margin: convolutions write INT8 for their norms (`int8-out`), those first that lose the
   least for the bytes that they save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx

from nstopt.calib.int8 import INT8_OUT
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.recipe import Recipe, RecipeBuilder
from nstopt.calib.statistics import CalibrationStats
from nstopt.graph.cost import costs
from nstopt.graph.nodes import CONVOLUTIONS, multiplying
from nstopt.pictures.files import Picture
from nstopt.progress import Progress

# (model, pictures) → the model's results, and the milliseconds of the fastest run.
Render = Callable[[onnx.ModelProto, Sequence[Picture]], tuple[list[Picture], float]]
Finish = Callable[[onnx.ModelProto], onnx.ModelProto]
EXPONENTS = (None, 0.25, 0.5, 0.75, 1.0)
# Time per multiply-add of a layer's levels, relative to INT8, by its operator. The last level is exact.
LevelCost = Mapping[str, Mapping[str, float]]
# The costs where none were measured.
LEVEL_COST: LevelCost = {operator: {"int8": 1, "int8x2": 2, "fp32": 4} for operator in CONVOLUTIONS}
# Smallest gain in dB for which a change is kept; smaller ones are chance.
MIN_GAIN_DB = 0.03
# Quality beyond the target in dB that must be left for speed to be bought with it.
SPARE_DB = 2.5


class Candidate(NamedTuple):
    """A recipe with its PSNR against the reference in dB and its latency."""

    recipe: Recipe
    mean_db: float
    worst_db: float
    latency_ms: float

    @property
    def score(self) -> float:
        """Mean of the mean and the worst PSNR, by which layers are raised: by the mean alone, one picture would be
        traded for the others."""
        return (self.mean_db + self.worst_db) / 2


class QualityTarget(NamedTuple):
    """Smallest PSNR against the reference in dB, in the mean and of the worst picture."""

    mean_db: float
    worst_db: float

    def is_met(self, candidate: Candidate) -> bool:
        """Return True if both values are reached."""
        return candidate.mean_db >= self.mean_db and candidate.worst_db >= self.worst_db


class Search:
    """Search over the INT8 graphs of one FP32 `model`, from its calibration `stats`.

    Candidates are rendered on `pictures`, uint8 [H, W, 3], and compared with `reference`, one picture each; None stands
    for what `model` itself renders. `finish` is applied to a candidate's INT8 graph before it is rendered. A layer
    whose exact level costs less than INT8 by `level_cost` is never quantized.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        stats: CalibrationStats,
        inputs: Int8Inputs,
        render: Render,
        pictures: Sequence[Picture],
        reference: Sequence[Picture] | None = None,
        finish: Finish = lambda model: model,
        level_cost: LevelCost = LEVEL_COST,
    ) -> None:
        self._builder = RecipeBuilder(model, stats, inputs)
        self._render, self._pictures, self._finish = render, pictures, finish
        self._reference = render(model, pictures)[0] if reference is None else reference
        self._cost = {node.name: level_cost[node.op_type] for node in multiplying(model.graph)}
        self._layers = list(self._cost)
        *_, self._exact = level_cost["Conv"]
        self._never = {name: self._exact for name, cost in self._cost.items() if cost[self._exact] < cost["int8"]}
        self._macs = {layer.name: max(layer.work.macs, 1) for layer in costs(model)}
        self._written = {layer.name: max(layer.work.bytes_written, 1) for layer in costs(model)}
        self.tried: list[Candidate] = []

    def run(self, target: QualityTarget, progress: Progress) -> Candidate:
        """Return the cheapest candidate found that meets the target, or the closest one if none does."""
        progress.step("searching the equalization")
        starts = (replace(self._builder.start(exponent), levels=self._never) for exponent in EXPONENTS)
        best = max(map(self.evaluate, starts), key=lambda c: c.mean_db)
        progress.step("searching ranges and rounding")
        best = self._improve(best, [replace(best.recipe, gptq=False)])
        best = self._improve(best, [replace(best.recipe, min_max=frozenset(self._builder.tensors))])
        for index in range(len(best.recipe.exponents)):
            if not target.is_met(best):
                best = self._improve(best, self._neighbors(best.recipe, index))
        for name in self._builder.tensors:
            if not target.is_met(best):
                best = self._improve(best, [replace(best.recipe, min_max=best.recipe.min_max ^ {name})])
        for level in self._levels_to_raise():
            if target.is_met(best):
                break
            progress.step(f"searching layers that need {level}")
            best = self._raise_levels(best, level, target)
        if target.is_met(best) and best.recipe.levels != self._never:
            progress.step("searching layers that need less")
            best = self._lower_levels(best, target)
        if target.is_met(best) and self._builder.normed:
            progress.step("searching convolutions that may write INT8")
            best = self._write_int8(best, QualityTarget(target.mean_db + SPARE_DB, target.worst_db + SPARE_DB))
        return best

    def build(self, recipe: Recipe) -> onnx.ModelProto:
        """Return the INT8 graph of a recipe, before `finish`."""
        return self._builder.build(recipe)

    def evaluate(self, recipe: Recipe) -> Candidate:
        """Build a recipe, render the pictures, and compare them with the reference."""
        rendered, latency_ms = self._render(self._finish(self.build(recipe)), self._pictures)
        psnr = [psnr_db(a, b) for a, b in zip(rendered, self._reference, strict=True)]
        candidate = Candidate(recipe, float(np.mean(psnr)), min(psnr), latency_ms)
        self.tried.append(candidate)
        return candidate

    def _improve(self, best: Candidate, recipes: Iterable[Recipe]) -> Candidate:
        """Return the best of `best` and the recipes that gain MIN_GAIN_DB, by the mean.

        The worst picture does not count here: where the net makes patterns of almost even areas, its PSNR is chance and
        would decide instead of the method.
        """
        for recipe in recipes:
            candidate = self.evaluate(recipe)
            best = candidate if candidate.mean_db > best.mean_db + MIN_GAIN_DB else best
        return best

    def _neighbors(self, recipe: Recipe, index: int) -> list[Recipe]:
        """Return the recipes with a neighboring exponent for one stream."""
        start = recipe.exponents
        place = EXPONENTS.index(start[index])
        return [
            replace(recipe, exponents=(*start[:index], exponent, *start[index + 1 :]))
            for exponent in EXPONENTS[max(place - 1, 0) : place + 2]
            if exponent != start[index]
        ]

    def _levels_to_raise(self) -> list[str]:
        """Return the levels beyond INT8, the exact one last, without those that are worth it for no layer."""
        levels = dict.fromkeys(level for cost in self._cost.values() for level in cost if level != "int8")
        return [level for level in levels if any(self._is_worth(layer, level) for layer in self._layers)]

    def _is_worth(self, layer: str, level: str) -> bool:
        """Return True if a layer may be raised to a level: the exact one, or one that takes less time."""
        cost = self._cost[layer]
        return layer not in self._never and (level == self._exact or cost[level] < cost[self._exact])

    def _with_level(self, candidate: Candidate, layer: str, level: str) -> Candidate:
        levels = {**candidate.recipe.levels, layer: level}
        levels = {name: one for name, one in levels.items() if one != "int8"}
        return self.evaluate(replace(candidate.recipe, levels=levels))

    def _raise_levels(self, best: Candidate, level: str, target: QualityTarget) -> Candidate:
        """Raise layers in the order of what each gains alone per multiply-add, until the target is met.

        Multiply-adds stand for time: measured milliseconds change from run to run, and the same pictures shall give the
        same engine.
        """
        layers = [layer for layer in self._layers if self._is_worth(layer, level)]
        alone = {layer: self._with_level(best, layer, level) for layer in layers}
        start = best

        def worth(layer: str) -> float:
            return (alone[layer].score - start.score) / self._macs[layer]

        for layer in sorted(layers, key=worth, reverse=True):
            if target.is_met(best) or alone[layer].score < start.score + MIN_GAIN_DB:
                break
            candidate = self._with_level(best, layer, level) if best is not start else alone[layer]
            best = candidate if candidate.score > best.score + MIN_GAIN_DB else best
        return best

    def _lower_levels(self, best: Candidate, target: QualityTarget) -> Candidate:
        """Lower raised layers while the target stays met, the most expensive first.

        A layer that was raised for its own gain is superfluous once others, raised after it, meet the target with room
        to spare: one hard picture may need a late layer that makes up for a dozen earlier ones.
        """
        levels = best.recipe.levels

        def extra_cost(layer: str) -> float:
            return self._macs[layer] * (self._cost[layer][levels[layer]] - self._cost[layer]["int8"])

        for layer in sorted(levels, key=extra_cost, reverse=True):
            cost = self._cost[layer]
            cheaper = [level for level in cost if cost[level] < cost[levels[layer]]]
            lowered = (self._with_level(best, layer, level) for level in cheaper)
            best = next(filter(target.is_met, lowered), best)
        return best

    def _write_int8(self, best: Candidate, target: QualityTarget) -> Candidate:
        """Let convolutions write INT8 for their norms while the target stays met: all of them, or as many as possible
        in the order of the error that each adds alone to the picture, for each number that it writes."""
        layers = [layer for layer in self._builder.normed if best.recipe.levels.get(layer, "int8") == "int8"]
        if not layers or not target.is_met(best):
            return best

        def writing(chosen: Sequence[str]) -> Candidate:
            return self.evaluate(replace(best.recipe, levels={**best.recipe.levels, **dict.fromkeys(chosen, INT8_OUT)}))

        def added(layer: str) -> float:
            return (_error(writing([layer])) - _error(best)) / self._written[layer]

        if target.is_met(everything := writing(layers)):
            return everything
        order = sorted(layers, key=added)
        met, missed, found = 0, len(order), best
        while missed - met > 1:
            middle = (met + missed) // 2
            candidate = writing(order[:middle])
            if target.is_met(candidate):
                met, found = middle, candidate
            else:
                missed = middle
        return found


def _error(candidate: Candidate) -> float:
    """Return the error of a candidate's pictures, from both PSNRs; errors of several layers add up."""
    return float(10 ** (-candidate.score / 10))
