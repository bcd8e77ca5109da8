"""The messages between nstopt and the build process: one request, and answers of one JSON line each."""

from __future__ import annotations

import msgspec


class BuildRequest(msgspec.Struct, frozen=True):
    """A request to build `model`, an ONNX file in TensorRT's form, into `folder`: engine.plan, layers.json, build.log,
    and timing.cache, which extends the file `timing_cache`. `sizes` lists (batch, height, width) of the optimization
    profiles of a graph with dynamic height and width; it is empty for a graph of static shape."""

    model: str
    folder: str
    precision: str
    sizes: tuple[tuple[int, int, int], ...]
    workspace_mib: int | None
    timing_cache: str


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """Progress of a build phase: `done` of `total` steps; `total` is 0 if unknown."""

    name: str
    done: int
    total: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The plan is written. `version` is TensorRT's."""

    version: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The build failed. `reason` is one line."""

    reason: str


Answer = Phase | Finished | Failed
