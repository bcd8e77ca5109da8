"""Run a picture through the stages, strip by strip.

each stage:  each strip:  rows of the picture and of kept tensors ─ the stage's graph ─┬─ statistics
                                                                                       ├─ kept tensors
                                                                                       ╰─ the result
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.engines.backend import CompiledModel
from nstopt.pictures.files import Picture
from nstopt.strips.layout import Strip
from nstopt.strips.moments import Moments
from nstopt.strips.spill import SpilledTensor, SpillFiles
from nstopt.strips.stage import BY_ROWS, StageGraph

Tensor = NDArray[Any]
Compile = Callable[[onnx.ModelProto], CompiledModel]


class Run:
    """One picture, uint8 [H, W, 3], on its way through the stages, whose result is written to `out`. It holds the
    statistics measured so far, and the tensors that are kept on disk."""

    def __init__(
        self, compile_: Compile, by_rows: bool, picture: Picture, out: Picture, files: SpillFiles, pool: Executor
    ) -> None:
        self._compile = compile_
        self._by_rows = by_rows
        self._picture = picture
        self._out = out
        self._files = files
        self._pool = pool
        self._fed: dict[str, Tensor] = {}
        self._kept: dict[str, SpilledTensor] = {}

    def run(self, graph: StageGraph, strips: Sequence[Strip], is_last: bool) -> Iterator[Strip]:
        """Run a stage, and yield each strip that is done."""
        tensors, stage = graph.layout.tensors, graph.stage
        for name in stage.kept:
            _, channels, height, width = tensors[name].shape
            self._kept[name] = self._files.new((height, width, channels), tensors[name].dtype)
        moments = {one.source: Moments(tensors[one.source].shape[1]) for one in stage.statistics}
        compiled = _StageForStrips(self._compile, graph, self._by_rows)
        for strip in strips:
            feed = {name: self._rows(graph, name, strip) for name in stage.inputs}
            results = compiled(strip, {**feed, **self._fed})
            for name, tensor in results.items():
                begin, first, last = graph.layout.rows(name, strip)[0], *graph.layout.own_rows(name, strip)
                own = tensor[0, first - begin : last - begin]
                if is_last:
                    self._out[first:last] = own
                if name in moments:
                    moments[name].add(own, self._pool)
                if name in stage.kept:
                    self._kept[name].write(own, first)
            yield strip
        for one in stage.statistics:
            self._fed.update(zip(one.inputs, moments[one.source].values(one.operator), strict=True))

    def drop(self, names: Sequence[str]) -> None:
        """Give back the files of tensors that no later stage reads."""
        for name in names:
            self._files.drop(self._kept.pop(name))

    def _rows(self, graph: StageGraph, name: str, strip: Strip) -> Tensor:
        begin, end = graph.layout.rows(name, strip)
        return self._kept[name].read(begin, end) if name in self._kept else self._picture[None, begin:end]


class _StageForStrips:
    """A stage, compiled for the height of the strip at hand. The one for the last height is freed first."""

    def __init__(self, compile_: Compile, graph: StageGraph, by_rows: bool) -> None:
        self._compile = compile_
        self._by_rows = by_rows
        self._graph = graph
        self._shapes: list[tuple[int, ...]] = []
        self._part: onnx.ModelProto | None = None
        self._run: CompiledModel | None = None

    def __call__(self, strip: Strip, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the stage's outputs by rows, [1, H, W, C], by name. They are valid until the next call."""
        names = (*self._graph.stage.inputs, *self._graph.stage.outputs)
        shapes = [self._graph.layout.shape(name, strip) for name in names]
        if self._run is None or self._part is None or shapes != self._shapes:
            self._run, self._shapes, self._part = None, shapes, self._graph.of(strip, self._by_rows)
            self._run = self._compile(self._part)
        inputs = {value.name: _dims(value) for value in self._part.graph.input}
        feed = {name: self._turned(values, name, (0, 3, 1, 2)).reshape(shape) for name, shape in inputs.items()}
        results = dict(zip((value.name for value in self._part.graph.output), self._run(feed), strict=True))
        return {name.removesuffix(BY_ROWS): self._turned(results, name, (0, 2, 3, 1)) for name in results}

    def _turned(self, values: Mapping[str, Tensor], name: str, order: tuple[int, ...]) -> Tensor:
        """Return a tensor, copied to another `order` if it has rows and the graph does not turn it."""
        tensor = self._graph.layout.tensors.get(name)
        value = values[name] if name in values else values[name.removesuffix(BY_ROWS)]
        return value if tensor is None or tensor.axis == 1 else np.ascontiguousarray(value.transpose(order))


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
