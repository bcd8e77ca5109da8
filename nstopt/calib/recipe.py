"""Recipe of an INT8 graph → the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.calib.equalize import Factors, equalize, factors, streams
from nstopt.calib.int8 import INT8_OUT, quantize, quantized_tensors
from nstopt.calib.ranges import Int8Inputs, QuantParams, merge_channels, min_max_range, mse_range
from nstopt.calib.rounding import Array, gptq_convolution, nearest
from nstopt.calib.statistics import CalibrationStats
from nstopt.calib.sums import SumRange, fill_ranges, normed_sums, sum_range


@dataclass(frozen=True)
class Recipe:
    """Choices that define an INT8 graph.

    `exponents` has the equalization exponent of each stream (None: not equalized); `min_max` the tensors with a min-max
    range (all others: MSE range); `gptq` is True if weights are rounded by GPTQ, else to the nearest integer; `levels`
    maps the layers that are not `int8` to `int8-out`, `int8x2`, or the type that they keep.
    """

    exponents: tuple[float | None, ...]
    min_max: frozenset[str] = frozenset()
    gptq: bool = True
    levels: Mapping[str, str] = field(default_factory=dict)

    @property
    def writing_int8(self) -> tuple[str, ...]:
        """The layers at `int8-out`."""
        return tuple(layer for layer, level in self.levels.items() if level == INT8_OUT)

    @property
    def beyond_int8(self) -> dict[str, str]:
        """The levels of layers that need more than INT8."""
        return {layer: level for layer, level in self.levels.items() if level != INT8_OUT}


class RecipeBuilder:
    """Builder of the INT8 graphs of one FP32 `model`, from its calibration `stats`."""

    def __init__(self, model: onnx.ModelProto, stats: CalibrationStats, inputs: Int8Inputs) -> None:
        self._model, self._stats, self._inputs = model, stats, inputs
        self._streams = streams(model.graph)
        self._readers = quantized_tensors(model.graph)
        self._input_of = {node.name: name for name, readers in self._readers.items() for node in readers}
        self._stream_of = {name: i for i, stream in enumerate(self._streams) for name in stream.tensors}
        self._sums = normed_sums(model.graph) if inputs.norms else {}
        self._sum_ranges: dict[str, SumRange] = {}
        self._ranges: dict[tuple[str, float | None, bool], QuantParams] = {}
        self._rounded: dict[tuple[str, float | None, float], Array] = {}

    @property
    def tensors(self) -> tuple[str, ...]:
        """The quantized tensors, without weights, in graph order."""
        return tuple(self._readers)

    @property
    def normed(self) -> tuple[str, ...]:
        """The layers that may write INT8, in graph order."""
        return tuple(self._sums)

    def start(self, exponent: float | None) -> Recipe:
        """Return the recipe that equalizes all streams by one exponent, with the defaults for everything else."""
        return Recipe((exponent,) * len(self._streams))

    def build(self, recipe: Recipe) -> onnx.ModelProto:
        """Return the INT8 graph of a recipe."""
        chosen = [
            (stream, s) for index, stream in enumerate(self._streams) if (s := self._factors(index, recipe)) is not None
        ]
        ranges = {name: self._range(name, recipe) for name in self._readers}

        def round_weight(node: onnx.NodeProto, weight: Array, scale: Array) -> NDArray[np.int8]:
            if not recipe.gptq:
                return nearest(weight, scale)
            return self._round(node, weight, scale, recipe, ranges[self._input_of[node.name]])

        written = {layer: self._sum_range(layer) for layer in recipe.writing_int8}
        ranges |= {self._sums[layer]: found.params for layer, found in written.items()}
        return quantize(fill_ranges(equalize(self._model, chosen), written), ranges, recipe.levels, round_weight)

    def _sum_range(self, layer: str) -> SumRange:
        """Return the range of what a layer writes, cached: no choice of a recipe changes it."""
        if layer not in self._sum_ranges:
            self._sum_ranges[layer] = sum_range(self._stats.histograms[self._sums[layer]])
        return self._sum_ranges[layer]

    def _factors(self, index: int, recipe: Recipe) -> Factors | None:
        exponent = recipe.exponents[index]
        if exponent is None:
            return None
        return factors(self._model.graph, self._streams[index], self._stats.histograms, exponent)

    def _exponent(self, tensor: str, recipe: Recipe) -> float | None:
        index = self._stream_of.get(tensor)
        return None if index is None else recipe.exponents[index]

    def _range(self, name: str, recipe: Recipe) -> QuantParams:
        """Return the range of a tensor, cached: it depends on the tensor, its stream's exponent and the method."""
        is_min_max = name in recipe.min_max
        key = (name, self._exponent(name, recipe), is_min_max)
        if key not in self._ranges:
            index = self._stream_of.get(name)
            merged = merge_channels(
                self._stats.histograms[name], None if index is None else self._factors(index, recipe)
            )
            find = min_max_range if is_min_max else mse_range
            self._ranges[key] = find(merged, self._inputs.scheme(self._readers[name]))
        return self._ranges[key]

    def _round(
        self, node: onnx.NodeProto, weight: Array, scale: Array, recipe: Recipe, params: QuantParams
    ) -> NDArray[np.int8]:
        """Round a layer's weights by GPTQ, cached by the exponent and the scale of its input. A factor on its output
        changes the weights' scale, not their integers."""
        tensor = self._input_of[node.name]
        key = (node.name, self._exponent(tensor, recipe), params.scale)
        if key not in self._rounded:
            patches = self._stats.patches.get(node.name)
            moments = patches.moments if patches else None
            index = self._stream_of.get(tensor)
            s = None if index is None else self._factors(index, recipe)
            if moments is not None and s is not None:
                each = np.repeat(1 / s, len(moments) // len(s))
                moments = moments * each[:, None] * each
            self._rounded[key] = gptq_convolution(node, weight, scale, moments, params.scale**2 / 12)
        return self._rounded[key]
