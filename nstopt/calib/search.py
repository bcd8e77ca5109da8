"""Which equalization, which ranges, which rounding, and which layers need more than INT8: searched, judged by the error
of the picture.

The error of a layer says little about the error of the picture, so every candidate is built, run on calibration
pictures and compared with FP32. First the exponent of the equalization, for all streams together; whether weights
rounded with feedback and ranges of least error do better than the plain ones; then the exponent of each stream, and
the range of each tensor. While the picture is not as close as aimed for, the layer that gains most decibels for
its work gets a second INT8 convolution (`int8x2`), or FP32 where that is not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.calib.equalize import Factors, equalize, factors, streams
from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import Int8Inputs, QuantParams, merge_channels, min_max_range, mse_range
from nstopt.calib.rounding import Array, gptq_convolution, nearest
from nstopt.calib.statistics import CalibrationStats
from nstopt.graph.cost import costs
from nstopt.graph.nodes import multiplying
from nstopt.progress import Progress

Picture = NDArray[np.uint8]
# A model → what it makes of each picture, and the milliseconds of the fastest run.
Render = Callable[[onnx.ModelProto, Sequence[Picture]], tuple[list[Picture], float]]
EXPONENTS = (None, 0.25, 0.5, 0.75, 1.0)
# What a change must gain to be kept, dB: less is chance.
WORTH_DB = 0.03


@dataclass(frozen=True)
class Recipe:
    """Exponent of each stream's equalization (None: left as it is); the tensors whose range reaches from end to end
    (others: least squared error); whether weights are rounded with feedback; and the level of layers that are not
    `int8`."""

    exponents: tuple[float | None, ...]
    whole: frozenset[str] = frozenset()
    feedback: bool = True
    levels: Mapping[str, str] = field(default_factory=dict)


class Candidate(NamedTuple):
    """A recipe and how it did on the judged pictures."""

    recipe: Recipe
    mean_db: float
    worst_db: float
    latency_ms: float

    @property
    def score(self) -> float:
        """Of layers that are raised, mean and worst picture count alike: on the mean alone, one picture would be traded
        for the others."""
        return (self.mean_db + self.worst_db) / 2


class QualityTarget(NamedTuple):
    """How close to FP32 the pictures shall be, dB."""

    mean_db: float
    worst_db: float

    def is_met(self, candidate: Candidate) -> bool:
        return candidate.mean_db >= self.mean_db and candidate.worst_db >= self.worst_db


class Search:
    """Candidates of one FP32 model, with what was `seen` of it over the calibration pictures, judged on `pictures`."""

    def __init__(
        self,
        model: onnx.ModelProto,
        seen: CalibrationStats,
        inputs: Int8Inputs,
        render: Render,
        pictures: Sequence[Picture],
    ) -> None:
        self._model, self._seen, self._inputs = model, seen, inputs
        self._render, self._pictures = render, pictures
        self._streams = streams(model.graph)
        self._tensors = quantized_tensors(model.graph)
        self._reads = {node.name: name for name, readers in self._tensors.items() for node in readers}
        self._stream_of = {name: i for i, stream in enumerate(self._streams) for name in stream.tensors}
        self._reference, _ = render(model, pictures)
        self._macs = {layer.name: max(layer.work.macs, 1) for layer in costs(model)}
        self._ranges: dict[tuple[str, float | None, bool], QuantParams] = {}
        self._rounded: dict[tuple[str, float | None, float], Array] = {}
        self.tried: list[Candidate] = []

    def run(self, aim: QualityTarget, progress: Progress) -> Candidate:
        """The fastest candidate found that meets the aim, or the closest one if none does."""
        progress.step("searching the equalization")
        count = len(self._streams)
        best = max((self.judge(self.start(exponent)) for exponent in EXPONENTS), key=lambda c: c.mean_db)
        progress.step("searching ranges and rounding")
        best = self._improve(best, [replace(best.recipe, feedback=False)])
        best = self._improve(best, [replace(best.recipe, whole=self.tensors)])
        for index in range(count):
            if not aim.is_met(best):
                best = self._improve(best, self._neighbors(best.recipe, index))
        for name in self._tensors:
            if not aim.is_met(best):
                best = self._improve(best, [replace(best.recipe, whole=best.recipe.whole ^ {name})])
        layers = [node.name for node in multiplying(self._model.graph)]
        for level in ("int8x2", "fp32"):
            if aim.is_met(best):
                break
            progress.step(f"searching layers that need {level}")
            best = self._raise_levels(best, level, layers, aim)
        return best

    @property
    def tensors(self) -> frozenset[str]:
        """What is quantized, besides weights."""
        return frozenset(self._tensors)

    def start(self, exponent: float | None) -> Recipe:
        """All streams equalized by one exponent, everything else at its best guess."""
        return Recipe((exponent,) * len(self._streams))

    def build(self, recipe: Recipe) -> onnx.ModelProto:
        """The INT8 model of a recipe."""
        chosen = [
            (stream, s) for index, stream in enumerate(self._streams) if (s := self._factors(index, recipe)) is not None
        ]
        ranges = {name: self._range(name, recipe) for name in self._tensors}

        def round_weight(node: onnx.NodeProto, weight: Array, scale: Array) -> NDArray[np.int8]:
            if not recipe.feedback:
                return nearest(weight, scale)
            return self._round(node, weight, scale, recipe, ranges[self._reads[node.name]])

        return quantize(equalize(self._model, chosen), ranges, recipe.levels, round_weight)

    def _factors(self, index: int, recipe: Recipe) -> Factors | None:
        exponent = recipe.exponents[index]
        if exponent is None:
            return None
        return factors(self._model.graph, self._streams[index], self._seen.values, exponent)

    def _exponent(self, tensor: str, recipe: Recipe) -> float | None:
        index = self._stream_of.get(tensor)
        return None if index is None else recipe.exponents[index]

    def _range(self, name: str, recipe: Recipe) -> QuantParams:
        """Ranges depend on the tensor, its stream's exponent and the method alone, so each is searched once."""
        is_whole = name in recipe.whole
        key = (name, self._exponent(name, recipe), is_whole)
        if key not in self._ranges:
            index = self._stream_of.get(name)
            merged = merge_channels(self._seen.values[name], None if index is None else self._factors(index, recipe))
            find = min_max_range if is_whole else mse_range
            self._ranges[key] = find(merged, self._inputs.grid(self._tensors[name]))
        return self._ranges[key]

    def _round(
        self, node: onnx.NodeProto, weight: Array, scale: Array, recipe: Recipe, found: QuantParams
    ) -> NDArray[np.int8]:
        """A factor on an output moves its scale, not its integers, so each layer is rounded once for each exponent and
        scale of what it reads."""
        tensor = self._reads[node.name]
        key = (node.name, self._exponent(tensor, recipe), found.scale)
        if key not in self._rounded:
            patches = self._seen.patches.get(node.name)
            moments = patches.moments if patches else None
            index = self._stream_of.get(tensor)
            s = None if index is None else self._factors(index, recipe)
            if moments is not None and s is not None:
                each = np.repeat(1 / s, len(moments) // len(s))
                moments = moments * each[:, None] * each
            self._rounded[key] = gptq_convolution(node, weight, scale, moments, found.scale**2 / 12)
        return self._rounded[key]

    def judge(self, recipe: Recipe) -> Candidate:
        """Build a recipe, run it on the pictures, and compare with FP32."""
        images, latency_ms = self._render(self.build(recipe), self._pictures)
        found = [psnr_db(a, b) for a, b in zip(images, self._reference, strict=True)]
        candidate = Candidate(recipe, float(np.mean(found)), min(found), latency_ms)
        self.tried.append(candidate)
        return candidate

    def _improve(self, best: Candidate, recipes: Iterable[Recipe]) -> Candidate:
        """The best of `best` and the recipes that are worth it, in the mean: how near the worst picture comes is chance
        where the net makes patterns of what is almost even, and would decide instead of the method."""
        for recipe in recipes:
            candidate = self.judge(recipe)
            best = candidate if candidate.mean_db > best.mean_db + WORTH_DB else best
        return best

    def _neighbors(self, recipe: Recipe, index: int) -> list[Recipe]:
        """The neighboring exponents for one stream."""
        start = recipe.exponents
        place = EXPONENTS.index(start[index])
        return [
            replace(recipe, exponents=(*start[:index], exponent, *start[index + 1 :]))
            for exponent in EXPONENTS[max(place - 1, 0) : place + 2]
            if exponent != start[index]
        ]

    def _raise_levels(self, best: Candidate, level: str, layers: Sequence[str], aim: QualityTarget) -> Candidate:
        """Raise one layer after the other, in the order of what each gains alone for its multiply-adds, until the aim
        is met. Multiply-adds stand for time here: milliseconds change from run to run, and the same set of pictures
        shall give the same engine."""

        def raised(candidate: Candidate, layer: str) -> Candidate:
            return self.judge(replace(candidate.recipe, levels={**candidate.recipe.levels, layer: level}))

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
