"""Which equalisation, and which layers need more than INT8: searched, judged by the error of the picture.

The error of a layer says little about the error of the picture, so every candidate is built, run on calibration
pictures and compared with FP32. First the exponent of the equalisation, for all streams together, then for each
stream; then, while the picture is not as close as aimed for, the layer that gains most decibels for its work gets a
second INT8 convolution (`int8x2`), or FP32 where that is not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.calib.equalise import Factors, equalise, factors, streams
from nstopt.calib.int8 import quantise, quantised_tensors
from nstopt.calib.observe import Histogram
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import Range, best_range, spread
from nstopt.graph.cost import costs
from nstopt.graph.nodes import multiplying
from nstopt.progress import Progress

Image = NDArray[np.uint8]
# A model → what it makes of each picture, and the milliseconds of the fastest run.
Render = Callable[[onnx.ModelProto, Sequence[Image]], tuple[list[Image], float]]
EXPONENTS = (None, 0.25, 0.5, 0.75, 1.0)
# What a change must gain to be kept, dB: less is chance.
WORTH_DB = 0.03


@dataclass(frozen=True)
class Recipe:
    """Exponent of each stream's equalisation (None: left as it is), and the level of layers that are not `int8`."""

    exponents: tuple[float | None, ...]
    levels: Mapping[str, str] = field(default_factory=dict)


class Candidate(NamedTuple):
    """A recipe and how it did on the judged pictures."""

    recipe: Recipe
    mean_db: float
    worst_db: float
    latency_ms: float

    @property
    def score(self) -> float:
        """Mean and worst picture count alike: a search on the mean alone trades one picture for the others."""
        return (self.mean_db + self.worst_db) / 2


class Aim(NamedTuple):
    """How close to FP32 the pictures shall be, dB."""

    mean_db: float
    worst_db: float

    def is_met(self, candidate: Candidate) -> bool:
        return candidate.mean_db >= self.mean_db and candidate.worst_db >= self.worst_db


class Search:
    """Candidates of one FP32 model, its activations `seen` over the calibration pictures, judged on `pictures`."""

    def __init__(
        self,
        model: onnx.ModelProto,
        seen: Mapping[str, Histogram],
        free_zero_point: frozenset[str],
        render: Render,
        pictures: Sequence[Image],
    ) -> None:
        self._model, self._seen, self._render, self._pictures = model, seen, render, pictures
        self._streams = streams(model.graph)
        self._tensors = quantised_tensors(model.graph)
        self._free = free_zero_point
        self._reference, _ = render(model, pictures)
        self._macs = {layer.name: max(layer.work.macs, 1) for layer in costs(model)}
        self._ranges: dict[tuple[str, float | None], Range] = {}
        self.tried: list[Candidate] = []

    def run(self, aim: Aim, progress: Progress) -> Candidate:
        """The fastest candidate found that meets the aim, or the closest one if none does."""
        progress.step("searching the equalisation")
        count = len(self._streams)
        best = max((self._try(Recipe((exponent,) * count)) for exponent in EXPONENTS), key=lambda c: c.score)
        for index in range(count):
            if not aim.is_met(best):
                best = self._refine(best, index)
        layers = [node.name for node in multiplying(self._model.graph)]
        for level in ("int8x2", "fp32"):
            if aim.is_met(best):
                break
            progress.step(f"searching layers that need {level}")
            best = self._raise_levels(best, level, layers, aim)
        return best

    def build(self, recipe: Recipe) -> onnx.ModelProto:
        """The INT8 model of a recipe."""
        chosen: list[tuple[int, Factors]] = []
        for index, exponent in enumerate(recipe.exponents):
            s = self._factors(index, exponent)
            if s is not None:
                chosen.append((index, s))
        by_tensor = {name: (i, s) for i, s in chosen for name in self._streams[i].tensors}
        ranges = {name: self._range(name, recipe, by_tensor.get(name)) for name in self._tensors}
        equal = equalise(self._model, [(self._streams[i], s) for i, s in chosen])
        return quantise(equal, ranges, recipe.levels)

    def _factors(self, index: int, exponent: float | None) -> Factors | None:
        if exponent is None:
            return None
        return factors(self._model.graph, self._streams[index], self._seen, exponent)

    def _range(self, name: str, recipe: Recipe, equalised: tuple[int, Factors] | None) -> Range:
        """Ranges depend on the tensor and its stream's exponent alone, so each is searched once."""
        key = (name, recipe.exponents[equalised[0]] if equalised else None)
        if key not in self._ranges:
            merged = spread(self._seen[name], equalised[1] if equalised else None)
            self._ranges[key] = best_range(merged, zero_at_zero=not self._tensors[name] <= self._free)
        return self._ranges[key]

    def _try(self, recipe: Recipe) -> Candidate:
        images, latency_ms = self._render(self.build(recipe), self._pictures)
        found = [psnr_db(a, b) for a, b in zip(images, self._reference, strict=True)]
        candidate = Candidate(recipe, float(np.mean(found)), min(found), latency_ms)
        self.tried.append(candidate)
        return candidate

    def _refine(self, best: Candidate, index: int) -> Candidate:
        """The neighbouring exponents for one stream."""
        start = best.recipe.exponents
        place = EXPONENTS.index(start[index])
        for exponent in EXPONENTS[max(place - 1, 0) : place + 2]:
            if exponent != start[index]:
                candidate = self._try(replace(best.recipe, exponents=(*start[:index], exponent, *start[index + 1 :])))
                best = candidate if candidate.score > best.score + WORTH_DB else best
        return best

    def _raise_levels(self, best: Candidate, level: str, layers: Sequence[str], aim: Aim) -> Candidate:
        """Raise one layer after the other, in the order of what each gains alone for its multiply-adds, until the aim
        is met. Multiply-adds stand for time here: milliseconds change from run to run, and the same set of pictures
        shall give the same engine."""

        def raised(candidate: Candidate, layer: str) -> Candidate:
            return self._try(replace(candidate.recipe, levels={**candidate.recipe.levels, layer: level}))

        alone = {layer: raised(best, layer) for layer in layers}
        start = best

        def worth(layer: str) -> float:
            return (alone[layer].score - start.score) / self._macs[layer]

        for layer in sorted(layers, key=worth, reverse=True):
            if aim.is_met(best) or alone[layer].score < start.score + WORTH_DB:
                break
            candidate = raised(best, layer) if best is not start else alone[layer]
            best = candidate if candidate.score > best.score + WORTH_DB else best
        return best
