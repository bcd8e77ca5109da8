"""ONNX Runtime on the CPU. The bundle holds model.onnx."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from nstopt.bundle import Bundle, ShapeInfo
from nstopt.engines.base import Backend, Built, Capabilities, Engine, Picture
from nstopt.errors import BuildError, DeviceError

PROVIDERS = ["CPUExecutionProvider"]
# ONNX Runtime's exceptions share no base class of their own.
ORT_ERRORS = tuple(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception))


class ONNXRuntimeBackend(Backend):
    name = "onnxruntime"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}),
        free_zero_point=frozenset({"Conv", "ConvTranspose"}),
        dynamic_sizes=True,
    )

    def build(self, model: Path, shape: ShapeInfo, precision: str, folder: Path) -> Built:
        try:
            session(model)
        except ORT_ERRORS as error:
            raise BuildError(f"ONNX Runtime {ort.__version__} cannot load {model.name}: {error}") from error
        shutil.copyfile(model, folder / "model.onnx")
        device = f"CPU ({platform.machine()})"
        # Its integer convolutions also quantise their output, which our graphs never ask for (see calib/int8.py): the
        # graph's rounding is kept, and the multiplying is done in FP32.
        return Built("fp32", device, {"onnxruntime": ort.__version__})

    def load(self, bundle: Bundle) -> Engine:
        return ONNXRuntimeEngine(bundle)

    def identity(self) -> str:
        return f"onnxruntime {ort.__version__} {platform.machine()} {os.cpu_count()} CPUs"

    def runner(self, model: bytes) -> Callable[[], object]:
        try:
            opened = session(model)
        except ORT_ERRORS as error:
            raise BuildError(f"ONNX Runtime {ort.__version__} cannot load a layer: {error}") from error
        generator = np.random.default_rng(0)
        feed = {port.name: generator.uniform(0, 8, port.shape).astype(np.float32) for port in opened.get_inputs()}
        return lambda: opened.run(None, feed)


class ONNXRuntimeEngine(Engine):
    """A session whose input and output are bound to the caller's arrays."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.manifest)
        try:
            self._session = session(bundle.file("model.onnx"))
        except ORT_ERRORS as error:
            raise DeviceError(f"ONNX Runtime {ort.__version__} cannot load {bundle.path}: {error}") from error

    def _infer(self, images: Picture, out: Picture) -> None:
        binding = self._session.io_binding()
        for bind, node, array in (
            (binding.bind_input, self._session.get_inputs()[0], images),
            (binding.bind_output, self._session.get_outputs()[0], out),
        ):
            bind(node.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except ORT_ERRORS as error:
            raise DeviceError(f"ONNX Runtime failed on pictures of shape {list(images.shape)}: {error}") from error

    def close(self) -> None:
        del self._session


def session(model: Path | bytes) -> ort.InferenceSession:
    """A quiet session on the CPU, of a model's file or its bytes. Raises one of ORT_ERRORS."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=PROVIDERS)


BACKEND = ONNXRuntimeBackend()
