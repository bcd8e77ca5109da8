"""OpenVINO: the default on a CPU. The bundle holds model.xml and model.bin, which any OpenVINO program can load,
and the graph that they were made from."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

# OpenVINO reports its use to Google Analytics where its telemetry package is found. Without it, OpenVINO uses a stub.
if "openvino" not in sys.modules:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov

from nstopt.engines.backend import NO_OPTIONS, Backend, BuildOptions, Built, Capabilities, CompiledModel, Feed, Source
from nstopt.engines.engine import Engine, InferRequest, LayerTime, Port, require_ports
from nstopt.engines.openvino_bf16 import is_native, keep_sums, write_bf16
from nstopt.errors import BuildError, DeviceError
from nstopt.graph.work import Work, convolution_macs
from nstopt.manifest import InputShape, Manifest
from nstopt.precisions import parts

if TYPE_CHECKING:
    from nstopt.gpu.facts import Architecture
    from nstopt.pictures.files import Picture

MODEL, WEIGHTS, GRAPH = "model.xml", "model.bin", "graph.onnx"
# Entry of a model that states which precision it was built in. It tells the type to compute in between convolutions.
PRECISION_ENTRY = ["nstopt", "precision"]
# The fastest forms around grouped convolutions (docs/performance.md); in INT8 they stay plain. OpenVINO runs a
# transposed grouped convolution of INT8 inputs in FP32, and its kernel for BF16 is slow.
GROUPED_FORMS = {
    "fp32": {"upsample-grouped": "transposed", "strided-reflection": "corrected"},
    "fp16": {"upsample-grouped": "transposed"},
    "bf16": {
        "upsample-grouped": "early-pad",
        "strided-reflection": "corrected",
        "separable-doubling": "dense",
    },
}
# Where norms that read INT8 were measured (docs/int8.md).
X86 = ("x86_64", "AMD64")
# A stream on a core of its own never waits for the others' threads, but every stream has activations of its own.
MOST_VIDEO_STREAMS = 4
PROFILE_WARMUP = 2
# OpenVINO raises RuntimeError; its Python binding adds these for names that are no UTF-8 and for types without a name.
OV_ERRORS = (RuntimeError, ValueError, TypeError)
BARE = "/WithoutBiases"  # suffix of a convolution whose bias OpenVINO has split off


@cache
def core() -> ov.Core:
    """Return the process's one OpenVINO Core, which is never closed. A Core handles signals on a stack of its own. If
    two Cores are closed in the order in which they were opened, that stack is freed in use and the next signal ends the
    process."""
    return ov.Core()


def config(precision: str) -> dict[str, str]:
    """Return the options to compile a model of a precision with. Without the precision hint OpenVINO computes in BF16
    where the CPU has it, which is not always what was asked for."""
    hint = "bf16" if "bf16" in parts(precision) else "f32"
    return {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}


class OpenVINOBackend(Backend):
    name = "openvino"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "bf16", "fp16", "int8", "int8-bf16"}),
        files=(MODEL, WEIGHTS),
        free_zero_point=frozenset({"Conv"}),
        int8_norms=platform.machine() in X86,
        # The fastest forms where they were measured: docs/performance.md.
        forms={"upsample-conv": "transposed", "few-outputs": "phase", "few-channel-norm": "means"},
        graph=GRAPH,
    )

    def forms(self, precision: str, generation: Architecture | None = None) -> Mapping[str, str]:
        return {**self.capabilities.forms, **GROUPED_FORMS.get(precision, {})}

    def build(
        self, source: Source, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        try:
            graph = core().read_model(source.onnx)
            graph.set_rt_info(precision, PRECISION_ENTRY)
            if precision == "bf16":
                keep_sums(graph, options.fp32_sums)
            elif precision == "int8-bf16":
                write_bf16(graph)
            ov.save_model(graph, folder / MODEL, compress_to_fp16=False)
            _compiled(core().read_model(folder / MODEL))
            shutil.copyfile(source.onnx, folder / GRAPH)
        except RuntimeError as error:
            raise BuildError(
                f"OpenVINO {ov.__version__} cannot compile {source.onnx.name}: {_reason(error)}"
            ) from error
        return Built(self.computes(precision), _cpu(), {"openvino": ov.__version__.split("-")[0]})

    def load(self, files: Mapping[str, bytes], shape: InputShape, name: str) -> Engine:
        return OpenVINOEngine(files[MODEL], files[WEIGHTS], shape, name)

    def load_streams(self, files: Mapping[str, bytes], shape: InputShape, name: str, streams: int) -> Engine:
        return OpenVINOEngine(files[MODEL], files[WEIGHTS], shape, name, streams)

    def video_streams(self) -> int:
        return max(1, min(len(os.sched_getaffinity(0)), MOST_VIDEO_STREAMS))

    def identity(self) -> str:
        return f"openvino {ov.__version__} {_cpu()}"

    def require(self, precision: str, force: bool) -> None:
        if "bf16" in parts(precision) and not is_native(core()):
            raise DeviceError(
                f"{precision} needs a CPU with BF16 arithmetic (AVX512-BF16 or AMX), and this one ({_cpu()}) would "
                "only emulate it, slower than FP32: build fp32 or int8"
            )

    def require_built_for_here(self, manifest: Manifest) -> None:
        self.require(manifest.precision.asked, force=False)

    def computes(self, precision: str) -> str:
        return "fp32" if precision == "fp16" else precision

    def compile(self, model: bytes, precision: str, reuse: bool = False) -> CompiledModel:
        try:
            graph = core().read_model(model)
            if precision == "int8-bf16":
                write_bf16(graph)
            compiled = core().compile_model(graph, "CPU", config(precision))
        except RuntimeError as error:
            raise BuildError(f"OpenVINO {ov.__version__} cannot compile a graph: {_reason(error)}") from error
        request: Any = compiled.create_infer_request()

        def run(feed: Feed) -> list[NDArray[Any]]:
            request.infer(dict(feed), share_inputs=True)
            results = [request.get_output_tensor(index).data for index in range(len(compiled.outputs))]
            return results if reuse else [array.copy() for array in results]

        return run


class OpenVINOEngine(Engine):
    """One compiled model with `streams` streams, and as many infer requests as were in flight at once. They read and
    write the caller's arrays in place."""

    def __init__(self, xml: bytes, weights: bytes, shape: InputShape, name: str, streams: int = 1) -> None:
        super().__init__(shape, name)
        self._files = xml, weights
        self._streams = streams
        with _explained(f"OpenVINO on {platform.machine()} cannot load {name}"):
            graph = core().read_model(xml, weights)
            inputs, outputs = (list(map(_port, ports)) for ports in (graph.inputs, graph.outputs))
            require_ports(name, shape, inputs, outputs)
            self._model = _compiled(graph, streams)
            self._free: deque[Any] = deque([self._model.create_infer_request()])

    @property
    def streams(self) -> int:
        return self._streams

    def submit(self, image: Picture) -> InferRequest:
        """Begin to stylize a picture, as Engine does; any number of requests may be in flight."""
        batch = self._checked(image)
        result = np.empty(batch.shape, np.uint8)
        with self._running(batch):
            request = self._bound(batch, result)
            request.start_async()
        return InferRequest(image.shape, lambda out: self._finish(request, batch, result, out))

    def _finish(self, request: Any, batch: Picture, result: Picture, out: Picture | None) -> None:
        """Wait for a request, which reads `batch` and writes `result`; copy the result to `out`, and free the request.
        If `out` is None, nobody wants to know of the result or of an error."""
        try:
            with self._running(batch):
                request.wait()
            if out is not None:
                np.copyto(out.reshape(result.shape), result)
        except DeviceError:
            if out is not None:
                raise
        finally:
            self._free.append(request)

    def _infer(self, images: Picture, out: Picture) -> None:
        with self._running(images):
            request = self._bound(images, out)
            try:
                request.infer()
            finally:
                self._free.append(request)

    def _bound(self, images: Picture, out: Picture) -> Any:
        """Return a free request, or a new one, that reads `images` and writes `out`."""
        try:
            request = self._free.popleft()
        except IndexError:
            request = self._model.create_infer_request()
        request.set_input_tensor(ov.Tensor(images, shared_memory=True))
        request.set_output_tensor(ov.Tensor(out, shared_memory=True))
        return request

    def profile(self, images: Picture, runs: int) -> list[LayerTime]:
        """Time the kernels of a second model, compiled for the size of `images` with performance counters, which slow
        it down a little."""
        totals_ms: list[dict[str, float]] = []
        with self._running(images):
            graph = core().read_model(*self._files)
            graph.reshape(list(images.shape))
            model = core().compile_model(graph, "CPU", {**config(_precision(graph)), "PERF_COUNT": "YES"})
            request: Any = model.create_infer_request()
            for run in range(1, PROFILE_WARMUP + runs + 1):
                request.infer([images])
                # Counters are averages over all runs so far: a run's own time is the difference of two sums.
                totals_ms.append({layer.node_name: run * _ms(layer.real_time) for layer in request.profiling_info})
        steps = list(zip(totals_ms[PROFILE_WARMUP - 1 :], totals_ms[PROFILE_WARMUP:], strict=False))
        kernels = {kernel.get_friendly_name(): kernel for kernel in model.get_runtime_model().get_ops()}
        times = []
        for layer in request.profiling_info:
            name = layer.node_name
            if layer.status == ov.ProfilingInfo.Status.EXECUTED and name in kernels:
                samples_ms = tuple(max(after[name] - before[name], 0.0) for before, after in steps)
                times.append(LayerTime(name.removesuffix(BARE), layer.node_type, samples_ms, _work(kernels[name])))
        return times

    def close(self) -> None:
        del self._free, self._model

    def _running(self, images: Picture) -> contextlib.AbstractContextManager[None]:
        return _explained(f"{self.name}: OpenVINO failed on pictures of shape {list(images.shape)}")


def _port(port: Any) -> Port:
    """Describe an input or output of a model."""
    dims = tuple(None if one.is_dynamic else one.get_length() for one in port.get_partial_shape())
    return Port(port.get_any_name(), np.dtype(port.get_element_type().to_dtype()).name, dims)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn an error of OpenVINO's into a DeviceError that begins with `what`."""
    try:
        yield
    except OV_ERRORS as error:
        raise DeviceError(f"{what}: {_reason(error)}") from error


def _compiled(graph: ov.Model, streams: int = 1) -> ov.CompiledModel:
    several = {"NUM_STREAMS": str(streams)} if streams > 1 else {}
    return core().compile_model(graph, "CPU", {**config(_precision(graph)), **several})


def _precision(graph: ov.Model) -> str:
    """Return the precision that a model of a bundle was built in."""
    return str(graph.get_rt_info(PRECISION_ENTRY).astype(str)) if graph.has_rt_info(PRECISION_ENTRY) else "fp32"


def _cpu() -> str:
    return str(core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def _ms(time: timedelta) -> float:
    return time.total_seconds() * 1000


def _work(kernel: Any) -> Work | None:
    """Return the work of a kernel of the compiled model, from the shapes and types that it reads and writes; None if
    the kernel belongs to no layer of the graph."""
    kind = kernel.get_rt_info()["layerType"].astype(str)
    if not kernel.get_rt_info()["originalLayersNames"].astype(str):
        return None
    read, written = ([port.get_tensor() for port in ports] for ports in (kernel.input_values(), kernel.outputs()))
    macs = 0
    if kind in ("Convolution", "Deconvolution"):
        source, weight, out = (list(tensor.get_shape()) for tensor in (*read[:2], written[0]))
        macs = convolution_macs(weight, source, out, kind == "Deconvolution")
    bytes_read, bytes_written = (
        sum(prod(tensor.get_shape()) * tensor.get_element_type().size for tensor in tensors)
        for tensors in (read, written)
    )
    return Work(macs, bytes_read, bytes_written, _type([tensor.get_element_type() for tensor in read[:2]]))


def _type(multiplied: list[ov.Type]) -> str:
    """Return the type that a kernel multiplies in, by those of its input and its weights."""
    if all(one.size == 1 for one in multiplied):
        return "int8"
    return "bf16" if multiplied[0] == ov.Type.bf16 else "fp32"


def _reason(error: Exception) -> str:
    """Return the last line of OpenVINO's message; the lines before it name OpenVINO's own source."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


BACKEND = OpenVINOBackend()
