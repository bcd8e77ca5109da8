"""ONNX Runtime on the CPU. The bundle holds model.onnx."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nstopt.engines.backend import NO_OPTIONS, Backend, BuildOptions, Built, Capabilities, CompiledModel, Source
from nstopt.engines.engine import Engine, LayerTime, Port, require_ports
from nstopt.errors import BuildError, DeviceError, first_line
from nstopt.graph.work import Work
from nstopt.manifest import InputShape
from nstopt.ort import ORT_ERRORS, VERSION, session
from nstopt.pictures.size import Size

if TYPE_CHECKING:
    from nstopt.gpu.facts import Architecture
    from nstopt.pictures.files import Picture

MODEL = "model.onnx"
PROFILE_WARMUP = 2
# Suffixes that ONNX Runtime adds to a node's name: for its time in a profile; for a convolution in the blocked layout,
# and for a node that it fused from several.
KERNEL = "_kernel_time"
ADDED = re.compile(r"(_nchwc)?(_token_\d+)?$")


class ONNXRuntimeBackend(Backend):
    name = "onnxruntime"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}),
        files=(MODEL,),
        free_zero_point=frozenset({"Conv", "ConvTranspose"}),
        # The fastest forms where they were measured: docs/performance.md.
        forms={"upsample-conv": "transposed", "upsample-grouped": "early-pad", "few-outputs": "phase"},
        graph=MODEL,
        # Where a tensor goes both to a quantizer and to a Transpose before an output, 1.31 gives out the quantized one.
        exact_transposes=False,
    )

    def forms(self, precision: str, generation: Architecture | None = None) -> Mapping[str, str]:
        own = {"strided-reflection": "corrected"} if precision == "fp32" else {}
        return {**self.capabilities.forms, **own}

    def build(
        self, source: Source, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        try:
            session(source.onnx)
        except ORT_ERRORS as error:
            raise BuildError(f"ONNX Runtime {VERSION} cannot load {source.onnx.name}: {first_line(error)}") from error
        shutil.copyfile(source.onnx, folder / MODEL)
        return Built(self.computes(precision), f"CPU ({platform.machine()})", {"onnxruntime": VERSION})

    def load(self, files: Mapping[str, bytes], shape: InputShape, name: str) -> Engine:
        return ONNXRuntimeEngine(files[MODEL], shape, name)

    def identity(self) -> str:
        return f"onnxruntime {VERSION} {platform.machine()} {os.cpu_count()} CPUs"

    def computes(self, precision: str) -> str:
        # Its integer convolutions also quantize their output, which our graphs never ask for (see calib/int8.py). It
        # keeps the graph's rounding and multiplies in FP32.
        return "fp32"

    def compile(self, model: bytes, precision: str, reuse: bool = False) -> CompiledModel:
        try:
            opened = session(model)
        except ORT_ERRORS as error:
            raise BuildError(f"ONNX Runtime {VERSION} cannot load a graph: {first_line(error)}") from error
        return lambda feed: opened.run(None, dict(feed))


class ONNXRuntimeEngine(Engine):
    """A session whose input and output are bound to the caller's arrays."""

    def __init__(self, model: bytes, shape: InputShape, name: str) -> None:
        super().__init__(shape, name)
        self._model = model
        try:
            self._session = session(model)
        except ORT_ERRORS as error:
            raise DeviceError(f"ONNX Runtime {VERSION} cannot load {name}: {first_line(error)}") from error
        require_ports(name, shape, *(list(map(_port, ports)) for ports in _ends(self._session)))

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
            raise self._failed(images, error) from error

    def profile(self, images: Picture, runs: int) -> list[LayerTime]:
        """Time the kernels of a second session, which writes their times to a file."""
        with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
            try:
                counting = session(self._model, profile=Path(folder) / "profile")
                for _ in range(PROFILE_WARMUP + runs):
                    counting.run(None, {counting.get_inputs()[0].name: images})
                events = json.loads(Path(counting.end_profiling()).read_text())
            except ORT_ERRORS as error:
                raise self._failed(images, error) from error
        layers = _layers(self._model, images)
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

    def _failed(self, images: Picture, error: Exception) -> DeviceError:
        shape = list(images.shape)
        return DeviceError(f"{self.name}: ONNX Runtime failed on pictures of shape {shape}: {first_line(error)}")


def _ends(opened: Any) -> tuple[Any, Any]:
    return opened.get_inputs(), opened.get_outputs()


def _port(node: Any) -> Port:
    """Describe an input or output of a session. Its free dimensions are names, its type is such as tensor(uint8)."""
    dims = tuple(one if isinstance(one, int) else None for one in node.shape)
    return Port(node.name, node.type.removeprefix("tensor(").removesuffix(")"), dims)


def _layers(model: bytes, images: Picture) -> dict[str, tuple[str, Work]]:
    """Return the name and work of each layer, by the layer's name and by that of its output: ONNX Runtime names a
    convolution after its output when it changes the layout."""
    import onnx

    from nstopt.graph.cost import costs
    from nstopt.graph.specialize import specialize

    graph = specialize(onnx.load_from_string(model), InputShape.of(images.shape[0], Size(*images.shape[1:3])))
    found = {layer.name: layer for layer in costs(graph)}
    named = [(node.output[0], node.name or node.output[0]) for node in graph.graph.node]
    return {key: (name, found[name].work) for output, name in named if name in found for key in (output, name)}


BACKEND = ONNXRuntimeBackend()
