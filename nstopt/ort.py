"""ONNX Runtime: the reference that graphs are checked against, the engine of one backend, and a converter.

The one module that imports onnxruntime. From version 1.31 on, ONNX Runtime reports its use to Microsoft on threads that
run beside what is measured here; nstopt turns that off where it imports the library first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

if TYPE_CHECKING:
    import onnx

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
# Execution providers, the first one preferred, each with its options or without.
Providers = Sequence[str | tuple[str, dict[str, str]]]


def session(model: Path | bytes, profile: Path | None = None, providers: Providers = PROVIDERS) -> ort.InferenceSession:
    """A session, on the CPU if nothing else is asked for, that logs nothing, for a model's file or its serialized
    bytes. With `profile`, the time of each kernel goes to a file whose name begins with that path. Raises one of
    ORT_ERRORS."""
    options = ort.SessionOptions()
    options.log_severity_level = FATAL
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=providers)


def has_provider(name: str) -> bool:
    """Return True if this build of ONNX Runtime has an execution provider."""
    return name in ort.get_available_providers()


def convert_to_fp16(
    model: onnx.ModelProto, blocked_ops: Sequence[str], blocked_nodes: Sequence[str]
) -> onnx.ModelProto:
    """Convert an FP32 model in place to FP16, except for its inputs and outputs, operators of these types, and nodes of
    these names. The result repeats casts, and its nodes are not sorted."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted: onnx.ModelProto = convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=list(blocked_ops),
        node_block_list=list(blocked_nodes),
    )
    return converted
