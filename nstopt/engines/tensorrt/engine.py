"""A loaded engine plan that stylizes pictures, several requests at a time."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import tensorrt as trt

from nstopt.engines.engine import Engine, InferRequest, LayerTime, require_ports
from nstopt.engines.tensorrt.arrays import DEFAULT_STREAM, View, is_on_device, shape_of, view
from nstopt.engines.tensorrt.lane import Lane, Shape, Split, ports_of
from nstopt.engines.tensorrt.layer_report import Kernel, read_layers
from nstopt.engines.tensorrt.messages import GraphInfo
from nstopt.engines.tensorrt.pool import INPUT, Pool
from nstopt.engines.tensorrt.results import ResultPool
from nstopt.errors import BundleError, DeviceError
from nstopt.manifest import InputShape
from nstopt.pictures.files import Picture

PROFILE_WARMUP = 2


class ErrorLog(trt.ILogger):  # type: ignore[misc]
    """Keeps TensorRT's last error message, which its calls do not return."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.error = ""

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.error = " ".join(message.split())


def deserialize(plan: bytes, source: str) -> tuple[Any, Any]:
    """Return the ICudaEngine of a plan and its runtime, which must outlive it. Call it only on a machine with a GPU:
    elsewhere TensorRT's runtime ends the process. Raises DeviceError, whose message names `source`."""
    log = ErrorLog()
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise DeviceError(f"TensorRT {trt.__version__} cannot load {source}: {log.error or 'it gave no reason'}")
    return engine, (runtime, log)


class TensorRTEngine(Engine):
    """Runs calls of several threads side by side, each on its own lane. At most MAX_LANES lanes are in use at a time;
    further calls wait. Submitted requests always leave one lane to calls."""

    def __init__(self, files: Mapping[str, bytes], shape: InputShape, name: str) -> None:
        super().__init__(shape, name)
        self._lock = contextlib.nullcontext()
        self._pool: Pool | None = None
        self._results = ResultPool()
        self._files = files
        engine, self._runtime = deserialize(files["engine.plan"], name)
        ports = {port.name: port for port in ports_of(engine)}
        require_ports(name, shape, [ports.pop(INPUT)] if INPUT in ports else [], list(ports.values()))
        self._pool = Pool(engine)

    @property
    def notes(self) -> tuple[str, ...]:
        notes = self._pool.graph_notes if self._pool else ()
        return tuple(f"no CUDA graph: {note}" if note else "CUDA graph" for note in notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(note for note in self.notes if note.startswith("no "))

    def __call__(self, image: Any, out: Any = None) -> Any:
        """Stylize a picture as Engine does. A device array (__cuda_array_interface__ or DLPack, uint8 [H, W, 3] or
        [N, H, W, 3]) is read in place; its result is written to `out`, also a device array, or returned as a
        DeviceArray. Raises BundleError and DeviceError as Engine does."""
        on_device = is_on_device(image)
        if out is not None and is_on_device(out) != on_device:
            raise BundleError("the picture and `out` must both be in GPU memory, or both in host memory")
        return self._call_on_device(image, out) if on_device else super().__call__(image, out)

    def submit(self, image: Picture) -> InferRequest:
        """Start to stylize a picture in host memory, as Engine does. Raises BundleError for a device array, DeviceError
        if too many requests are in flight."""
        if is_on_device(image):
            raise BundleError("only pictures in host memory can be submitted: call the engine with this one")
        batch = self._checked(image)
        lanes = self._lanes
        lane = lanes.submit(batch.shape)
        try:
            np.copyto(lane.host[INPUT].array, batch)
            lane.start()
        except BaseException:
            lanes.drop(lane)
            raise
        return InferRequest(image.shape, lambda out: self._finish(lanes, lane, out))

    def _finish(self, lanes: Pool, lane: Lane, out: Picture | None) -> None:
        """Wait for the result of a submitted request, write it to `out`, and free the lane. If `out` is None, nobody
        wants the result: only the lane is freed, and errors of the device are dropped."""
        try:
            with lanes.taken(lane):
                lane.finish()
                if out is not None:
                    _write(lane, out)
        except DeviceError:
            if out is not None:
                raise

    def _infer(self, images: Picture, out: Picture) -> None:
        with self._lanes.borrow(images.shape) as lane:
            np.copyto(lane.host[INPUT].array, images)
            lane.start()
            lane.finish()
            _write(lane, out)

    @property
    def _lanes(self) -> Pool:
        if self._pool is None:
            raise DeviceError("the engine is closed: load it again")
        return self._pool

    def _call_on_device(self, image: Any, out: Any) -> Any:
        shape = shape_of(image)
        batch = shape if len(shape) == 4 else (1, *shape)
        if len(batch) != 4 or batch[-1] != 3:
            raise BundleError(f"engine takes uint8 RGB arrays [H, W, 3] or [N, H, W, 3], not {list(shape)}")
        self._check_fits(batch)
        with self._lanes.borrow(batch) as lane:
            source = view(image, lane.stream.handle)
            if out is None:
                out, is_reused = self._results.take(shape)
                if is_reused:
                    lane.stream.wait_for(DEFAULT_STREAM)
            target = _checked_out(view(out, lane.stream.handle), shape)
            for array in (source, target):
                if array.stream is not None:
                    lane.stream.wait_for(array.stream)
            lane.run_in_place(source.pointer, target.pointer)
        return out

    def split(self, images: Picture, runs: int) -> list[Split]:
        """Time upload, net and download of `images`, uint8 [N, H, W, 3] that fit, with CUDA events: one Split for each
        of `runs` runs after warm-up, without a CUDA graph. Raises DeviceError."""
        with self._lanes.borrow(images.shape) as lane:
            np.copyto(lane.host[INPUT].array, images)
            return [lane.split() for _ in range(PROFILE_WARMUP + runs)][PROFILE_WARMUP:]

    def profile(self, images: Picture, runs: int) -> list[LayerTime]:
        """Time each layer of `images`, uint8 [N, H, W, 3] that fit, over `runs` runs after warm-up. TensorRT's profiler
        allows no CUDA graph and synchronizes after every kernel. Raises DeviceError."""
        times_ms: dict[str, list[float]] = {}

        class Profiler(trt.IProfiler):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times_ms.setdefault(layer_name, []).append(ms)

        profiler = Profiler()
        with self._lanes.borrow(images.shape, reusable=False) as lane:  # its context keeps the profiler
            np.copyto(lane.host[INPUT].array, images)
            lane.context.profiler = profiler
            for _ in range(PROFILE_WARMUP + runs):
                lane.run_plain()
        return [self._layer_time(name, tuple(samples[-runs:])) for name, samples in times_ms.items()]

    def _layer_time(self, name: str, samples_ms: tuple[float, ...]) -> LayerTime:
        kernel = self._kernels.get(name)
        if kernel is None:
            return LayerTime(name, "?", samples_ms, None)
        return LayerTime(kernel.label, kernel.kind, samples_ms, kernel.work)

    @functools.cached_property
    def _kernels(self) -> dict[str, Kernel]:
        graph = msgspec.json.decode(self._files["graph.json"], type=GraphInfo)
        return read_layers(self._files["layers.json"].decode(), graph.convolutions)

    def close(self) -> None:
        """Free all GPU memory. Waits for calls running in other threads; results that were not taken are lost."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        self._results.close()
        self._runtime = None

    def __del__(self) -> None:
        self.close()


def _write(lane: Lane, out: Picture) -> None:
    """Copy a lane's result to `out`, uint8 [H, W, 3] or [N, H, W, 3]."""
    result = lane.host[lane.outputs[0]].array
    np.copyto(out.reshape(result.shape), result)


def _checked_out(out: View, shape: Shape) -> View:
    if out.shape != shape or not out.writable:
        raise BundleError(f"`out` must be a writable uint8 device array of shape {list(shape)}")
    return out
