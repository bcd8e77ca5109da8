"""Engines: ONNX with its precision in it → bundle → callable engine. A new backend is one file and one line here."""

from __future__ import annotations

import importlib
from pathlib import Path

from nstopt.bundle import open_bundle
from nstopt.engines.base import Backend, Engine
from nstopt.errors import BuildError

BACKENDS = {
    "openvino": "nstopt.engines.openvino",
    "onnxruntime": "nstopt.engines.onnxruntime",
    "torchscript": "nstopt.engines.torchscript",
    "tensorrt": "nstopt.engines.tensorrt",
}


def backend(name: str) -> Backend:
    """The backend of that name; its vendor library is imported now. Raises BuildError for an unknown name."""
    if name not in BACKENDS:
        raise BuildError(f"unknown backend '{name}'; there are: {', '.join(BACKENDS)}")
    loaded: Backend = importlib.import_module(BACKENDS[name]).BACKEND
    return loaded


def load(path: str | Path) -> Engine:
    """Open an engine bundle. Its hashes are checked before native code reads it.

    Raises BundleError if the bundle is missing or damaged, DeviceError if its device or vendor library is.
    """
    bundle = open_bundle(Path(path))
    return backend(bundle.manifest.backend.name).load(bundle)
