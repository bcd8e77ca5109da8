"""What is sent to the process that builds a plan, and what it says back, one JSON line each."""

from __future__ import annotations

import msgspec


class BuildRequest(msgspec.Struct, frozen=True):
    """Build `model` (an ONNX file in TensorRT's form) into `folder`: engine.plan, layers.json, build.log, and
    timing.cache grown from the one given. `sizes`: pictures (batch, height, width) of a graph whose height and width
    are free; empty where the graph's own shape is fixed."""

    model: str
    folder: str
    precision: str
    sizes: tuple[tuple[int, int, int], ...]
    workspace_mib: int | None
    timing_cache: str


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """A step of the build that is `done` of `total` (0: of unknown length)."""

    name: str
    done: int
    total: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The plan is written."""

    version: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """There is no plan; `reason` is one line."""

    reason: str


Answer = Phase | Finished | Failed
