"""The messages between nstopt and the build process: one request, and answers of one JSON line each."""

from __future__ import annotations

import msgspec


class ConvolutionInfo(msgspec.Struct, frozen=True):
    """The types that a convolution may read and write (fp32, fp16, int8, …; several where a compiler may fuse a cast),
    and the number of its weights."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    weights: int


class GraphInfo(msgspec.Struct, frozen=True):
    """Facts about a graph: the types of its floating-point tensors by name, and its convolutions by name."""

    tensors: dict[str, str] = {}
    convolutions: dict[str, ConvolutionInfo] = {}


class BuildRequest(msgspec.Struct, frozen=True):
    """A request to build `model`, an ONNX file in TensorRT's form, into `folder`: engine.plan, layers.json, build.log,
    and timing.cache, which extends the file `timing_cache`. `graph` describes the model. `sizes` lists (batch,
    height, width) of the optimization profiles of a graph with dynamic height and width; it is empty for a graph of
    static shape. `tf32` allows TF32 for FP32. If `verbose`, build.log has TensorRT's verbose messages too."""

    model: str
    folder: str
    precision: str
    graph: GraphInfo
    sizes: tuple[tuple[int, int, int], ...]
    workspace_mib: int | None
    timing_cache: str
    tf32: bool = False
    verbose: bool = False


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
