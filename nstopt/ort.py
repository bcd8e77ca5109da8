"""ONNX Runtime on the CPU: the reference that graphs are checked against, and the engine of one backend.

The one module that imports onnxruntime. From version 1.31 on, ONNX Runtime reports its use to Microsoft on threads that
run beside what is measured here; nstopt turns that off where it imports the library first.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

VERSION: str = ort.__version__
PROVIDERS = ["CPUExecutionProvider"]
# ONNX Runtime's exceptions share no base class of their own, and its Python binding adds built-in ones: RuntimeError if
# a bound array does not fit, ValueError (UnicodeDecodeError) for names that are no UTF-8, TypeError for other types.
ORT_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    *(RuntimeError, ValueError, TypeError, MemoryError),
)
# Levels of its log: an error that is raised anyway is not logged as well.
FATAL = 4


def session(model: Path | bytes, profile: Path | None = None) -> ort.InferenceSession:
    """A session on the CPU that logs nothing, for a model's file or its serialized bytes. With `profile`, the time of
    each kernel goes to a file whose name begins with that path. Raises one of ORT_ERRORS."""
    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=PROVIDERS)
