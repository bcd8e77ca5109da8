"""An engine that smooths its statistics over the frames of a video, made from the graph in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from nstopt.bundle import open_bundle
from nstopt.engines import backend, lowered_graph
from nstopt.engines.backend import CompiledModel
from nstopt.engines.engine import Engine
from nstopt.errors import BundleError
from nstopt.graph.smoothing import MEMORY, SmoothedGraph, smooth_statistics
from nstopt.manifest import InputShape

if TYPE_CHECKING:
    import onnx

    from nstopt.pictures.files import Picture

Statistics = tuple[NDArray[np.float32], ...]


class SmoothedEngine(Engine):
    """An engine that remembers the statistics of its norms from call to call.

    `memory`, 0..1, is the share of the former statistics in those that are used; with 0, the pictures are those of the
    ordinary engine, up to rounding. `statistics` are those that the last call used; set them to go on from there, or to
    None to forget them.
    """

    def __init__(self, shape: InputShape, graph: SmoothedGraph, run: CompiledModel) -> None:
        super().__init__(shape)
        self.memory = 0.0
        self.statistics: Statistics | None = None
        self._previous = graph.previous
        self._run = run
        inputs = {value.name: value for value in graph.model.graph.input}
        self._zeros = tuple(_zeros(inputs[name]) for name in graph.previous)
        self._image = graph.model.graph.input[0].name

    def _infer(self, images: Picture, out: Picture) -> None:
        feed: dict[str, NDArray[Any]] = dict(zip(self._previous, self.statistics or self._zeros, strict=True))
        feed[self._image] = images
        if self._previous:
            feed[MEMORY] = np.array([0.0 if self.statistics is None else self.memory], np.float32)
        stylized, *used = self._run(feed)
        np.copyto(out, stylized)
        self.statistics = tuple(used)


def load_smoothed(path: Path) -> SmoothedEngine:
    """Open an engine bundle and compile its graph, with statistics that are smoothed over frames.

    Raises BundleError if the bundle is missing or damaged, takes several frames at a time, or is of a backend that
    keeps no graph; DeviceError if its device or vendor library is missing; RewriteError if a statistic of the net is
    not of a float32 tensor.
    """
    bundle = open_bundle(path)
    manifest = bundle.manifest
    if manifest.shape.batch not in (None, 1):
        raise BundleError(
            f"{path}: takes {manifest.shape.batch} pictures at a time, and stabilized frames depend on the one before; "
            "build an engine with --batch 1"
        )
    found = backend(manifest.backend.name)
    found.require_built_for_here(manifest)
    graph = smooth_statistics(lowered_graph(bundle))
    run = found.compile(graph.model.SerializeToString(), manifest.precision.asked)
    engine = SmoothedEngine(manifest.shape, graph, run)
    engine.name, engine.manifest = bundle.path.name, manifest
    return engine


def _zeros(statistic: onnx.ValueInfoProto) -> NDArray[np.float32]:
    """Return zeros of a statistic's shape; the batch, where it is free, is 1."""
    dims = [dim.dim_value or 1 for dim in statistic.type.tensor_type.shape.dim]
    return np.zeros(dims, helper.tensor_dtype_to_np_dtype(statistic.type.tensor_type.elem_type))
