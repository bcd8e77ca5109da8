"""ONNX Runtime on the CPU. The bundle holds model.onnx."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from nstopt.bundle import Bundle, InputShape
from nstopt.engines.base import (
    NO_OPTIONS,
    Backend,
    BuildOptions,
    Built,
    Capabilities,
    CompiledModel,
    Engine,
    LayerTime,
    Picture,
)
from nstopt.errors import BuildError, DeviceError
from nstopt.graph.work import Work

PROVIDERS = ["CPUExecutionProvider"]
PROFILE_WARMUP = 2
# What ONNX Runtime adds to a node's name: for its time in a profile; for a convolution in its own blocked layout, and
# for a node that it fused of several.
KERNEL = "_kernel_time"
ADDED = re.compile(r"(_nchwc)?(_token_\d+)?$")
# ONNX Runtime's exceptions share no base class of their own.
ORT_ERRORS = tuple(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception))


class ONNXRuntimeBackend(Backend):
    name = "onnxruntime"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}),
        free_zero_point=frozenset({"Conv", "ConvTranspose"}),
        dynamic_sizes=True,
    )

    def build(
        self, model: Path, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        try:
            session(model)
        except ORT_ERRORS as error:
            raise BuildError(f"ONNX Runtime {ort.__version__} cannot load {model.name}: {error}") from error
        shutil.copyfile(model, folder / "model.onnx")
        device = f"CPU ({platform.machine()})"
        # Its integer convolutions also quantize their output, which our graphs never ask for (see calib/int8.py): the
        # graph's rounding is kept, and the multiplying is done in FP32.
        return Built("fp32", device, {"onnxruntime": ort.__version__})

    def load(self, bundle: Bundle) -> Engine:
        return ONNXRuntimeEngine(bundle)

    def identity(self) -> str:
        return f"onnxruntime {ort.__version__} {platform.machine()} {os.cpu_count()} CPUs"

    def compile(self, model: bytes) -> CompiledModel:
        try:
            opened = session(model)
        except ORT_ERRORS as error:
            raise BuildError(f"ONNX Runtime {ort.__version__} cannot load a layer: {error}") from error
        return lambda feed: opened.run(None, dict(feed))


class ONNXRuntimeEngine(Engine):
    """A session whose input and output are bound to the caller's arrays."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.manifest)
        self._path = bundle.file("model.onnx")
        try:
            self._session = session(self._path)
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

    def profile(self, images: Picture, runs: int) -> list[LayerTime]:
        """Of a second session, which writes each kernel's time to a file."""
        with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
            try:
                counting = session(self._path, profile=Path(folder) / "profile")
                for _ in range(PROFILE_WARMUP + runs):
                    counting.run(None, {counting.get_inputs()[0].name: images})
                events = json.loads(Path(counting.end_profiling()).read_text())
            except ORT_ERRORS as error:
                raise DeviceError(f"ONNX Runtime failed on pictures of shape {list(images.shape)}: {error}") from error
        layers = _layers(self._path, images)
        kinds: dict[str, str] = {}
        times_ms: dict[str, list[float]] = {}
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith(KERNEL):
                kernel = event["name"].removesuffix(KERNEL)
                kinds[kernel] = event["args"]["op_name"]
                times_ms.setdefault(kernel, []).append(event["dur"] / 1000)
        times = []
        for kernel, samples in times_ms.items():
            name, work = layers.get(ADDED.sub("", kernel), (kernel, None))
            times.append(LayerTime(name, kinds[kernel], tuple(samples[-runs:]), work))
        return times

    def close(self) -> None:
        del self._session


def _layers(path: Path, images: Picture) -> dict[str, tuple[str, Work]]:
    """Name and work of each layer of the graph, by its own name and by that of its output, which ONNX Runtime names a
    convolution after when it changes its layout."""
    import onnx

    from nstopt.graph.cost import costs
    from nstopt.graph.specialize import specialize

    model = specialize(onnx.load(path), InputShape(*images.shape[:3]))
    found = {layer.name: layer for layer in costs(model)}
    named = [(node.output[0], node.name or node.output[0]) for node in model.graph.node]
    return {key: (name, found[name].work) for output, name in named if name in found for key in (output, name)}


def session(model: Path | bytes, profile: Path | None = None) -> ort.InferenceSession:
    """A quiet session on the CPU, of a model's file or its bytes. With `profile`, its kernels' times go to a file whose
    name begins so. Raises one of ORT_ERRORS."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=PROVIDERS)


BACKEND = ONNXRuntimeBackend()
