"""Engines: lowered graph → bundle → callable engine. A new backend is one file and one line here."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from nstopt.bundle import Bundle, open_bundle
from nstopt.engines.backend import Backend
from nstopt.engines.engine import Engine
from nstopt.errors import BuildError, BundleError, DeviceError, kind_named
from nstopt.extras import explain_missing_packages
from nstopt.trial import is_known, remember, run_first, tried

if TYPE_CHECKING:
    import onnx

BACKENDS = {
    "openvino": "nstopt.engines.openvino",
    "onnxruntime": "nstopt.engines.onnxruntime",
    "torchscript": "nstopt.engines.torchscript",
    "tensorrt": "nstopt.engines.tensorrt",
}


def backend(name: str) -> Backend:
    """Return the backend of that name and import its vendor library. Raises BuildError for an unknown name, DeviceError
    if the library is an optional package that is not installed."""
    if name not in BACKENDS:
        raise BuildError(f"unknown backend '{name}'; there are: {', '.join(BACKENDS)}")
    with explain_missing_packages():
        loaded: Backend = importlib.import_module(BACKENDS[name]).BACKEND
    return loaded


def load(path: str | Path, streams: int | None = 1) -> Engine:
    """Open an engine bundle. Its hashes are checked before native code reads it, and the engine is compared with what
    its manifest states. One that was not built here is run first, once, in a process of its own.

    `streams` is how many submitted pictures the engine works on side by side, each on its share of the CPU's cores:
    one for the least latency, several for the most pictures a second, None for what suits a video on this machine.
    Raises BundleError if the bundle is missing, damaged, or another engine than its manifest states, DeviceError if its
    device or vendor library is missing or if its backend has no streams.
    """
    bundle = open_bundle(Path(path))
    backend_of(bundle).require_built_for_here(bundle.manifest)
    require_runs(bundle)
    return open_engine(bundle, streams)


def require_as_stated(bundle: Bundle) -> None:
    """Check that a bundle holds the engine that its manifest states, wherever it was built for. Where its device is
    missing, only its files are checked. Raises BundleError."""
    try:
        require_runs(bundle)
        open_engine(bundle).close()
    except DeviceError as error:
        if backend_of(bundle).runs_here():
            raise BundleError(f"{bundle.path}: not an engine that can be loaded: {error}") from error


def backend_of(bundle: Bundle) -> Backend:
    """Return the backend that built a bundle. Raises BundleError if there is none of that name."""
    name = bundle.manifest.backend.name
    if name not in BACKENDS:
        raise BundleError(f"{bundle.path}: built by '{name}', which this nstopt lacks; build the engine again")
    return backend(name)


def require_runs(bundle: Bundle) -> None:
    """Run an engine once, on a black picture in a process of its own, unless it is known to run on this machine.

    Raises what loading or running it raised there; BundleError if it crashes, takes too long, or takes all memory.
    """
    if is_known(bundle.sha256) or not backend_of(bundle).capabilities.first_run:
        return
    shape, path = bundle.manifest.shape, bundle.path
    pixels = (shape.batch or 1) * math.prod(shape.sizes.only or ())
    arguments = (path, bundle.sha256)
    failed = run_first("nstopt.engines.trial", *arguments, what=str(path), kind=BundleError, megapixels=pixels / 1e6)
    if failed:
        name, _, message = failed.partition(": ")
        kind = kind_named(name)
        raise kind(message) if kind else BundleError(f"{path}: cannot run: {failed}; build the engine again")
    remember(bundle.sha256)
    tried.append(path)


def open_engine(bundle: Bundle, streams: int | None = 1) -> Engine:
    """Open the engine of a bundle in this process, as `load` does, without a first run."""
    found, manifest = backend_of(bundle), bundle.manifest
    files = {name: bundle.file(name) for name in found.capabilities.files}
    streams = found.video_streams() if streams is None else streams
    engine = found.load_streams(files, manifest.shape, bundle.path.name, streams)
    engine.manifest = manifest
    return engine


def lowered_graph(bundle: Bundle) -> onnx.ModelProto:
    """Return the graph that a bundle's engine was compiled from, for `Backend.compile`. Raises BundleError if the
    bundle has none, ExportError if its first run crashes."""
    import onnx

    from nstopt.export.trial import require_runs as run_graph_first

    name = bundle.manifest.backend.name
    file = backend(name).capabilities.graph
    if file is None:
        raise BundleError(
            f"{bundle.path}: engines of the {name} backend hold no graph that can be taken apart; "
            "build one with --backend openvino"
        )
    run_graph_first(bundle.path / file, bundle.manifest.shape)
    return onnx.load_from_string(bundle.file(file))
