"""A loaded plan: pictures in, pictures out, several requests at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorrt as trt

from nstopt.bundle import Bundle
from nstopt.engines.base import Engine, LayerTime, Pending, Picture
from nstopt.engines.tensorrt.arrays import DeviceArray, is_on_device, view
from nstopt.engines.tensorrt.cuda import DeviceMemory
from nstopt.engines.tensorrt.flags import shares_profiles
from nstopt.engines.tensorrt.lane import Lane, Split
from nstopt.engines.tensorrt.layers import read_layers
from nstopt.errors import BundleError, DeviceError

INPUT = "image"
MAX_LANES = 8
PROFILE_WARMUP = 2


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps TensorRT's last error, which its calls do not return."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.error = ""

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.error = " ".join(message.split())


def deserialise(plan: bytes, what: str) -> tuple[Any, Any]:
    """(engine, its runtime, which must outlive it). Only where a GPU is: TensorRT's runtime ends the process elsewhere.
    Raises DeviceError."""
    log = Log()
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise DeviceError(f"TensorRT {trt.__version__} cannot load {what}: {log.error or 'it gave no reason'}")
    return engine, (runtime, log)


class TensorRTEngine(Engine):
    """Calls may come from several threads and run side by side; each holds a lane of its own while it runs. At most
    MAX_LANES are in use at a time; further calls wait. Submitted requests leave one to calls."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.manifest)
        self._lock = contextlib.nullcontext()
        self._engine, self._runtime = deserialise(bundle.file("engine.plan").read_bytes(), str(bundle.path))
        self._report = bundle.file("layers.json").read_text()
        self._free: list[tuple[tuple[int, ...], Lane]] = []  # the one used last at the end
        self._used: list[int] = []  # profiles of lanes at work
        self._changed = threading.Condition()
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(self._notes)

    def __call__(self, image: Any, out: Any = None) -> Any:
        """As Engine; a picture that lies on the GPU (__cuda_array_interface__ or DLPack) is read there, and the result
        is written to `out` on the GPU too, or returned as a DeviceArray."""
        if is_on_device(image):
            return self._call_on_device(image, out)
        return super().__call__(image, out)

    def submit(self, image: Picture) -> Pending:
        batch = self._checked(image)
        lane = self._take(batch.shape, wait=False)
        return Pending(image.shape, self._start(lane, batch))

    def _infer(self, images: Picture, out: Picture) -> None:
        self._start(self._take(images.shape, wait=True), images)(out)

    def _start(self, lane: Lane, images: Picture) -> Callable[[Picture | None], None]:
        """Send pictures on their way; returns a function that waits for the result and writes it, or drops it."""
        try:
            np.copyto(lane.host[INPUT].array, images)
            lane.start()
        except DeviceError:
            self._drop(lane)
            raise

        def finish(out: Picture | None) -> None:
            try:
                lane.finish()
            except DeviceError:
                self._drop(lane)
                raise
            if out is not None:
                np.copyto(out.reshape(images.shape), lane.host[lane.outputs[0]].array)
            self._give_back(images.shape, lane)

        return finish

    def _call_on_device(self, image: Any, out: Any) -> Any:
        shape = tuple(image.shape)
        batch = shape if len(shape) == 4 else (1, *shape)
        if len(batch) != 4 or batch[-1] != 3:
            raise BundleError(f"engine takes uint8 RGB arrays [H, W, 3] or [N, H, W, 3], not {list(shape)}")
        self._check_fits(batch)
        lane = self._take(batch, wait=True)
        try:
            if out is None:
                memory = DeviceMemory(int(np.prod(shape)))
                out = DeviceArray(memory.pointer, shape, memory.close)
            views = [view(array, lane.stream.handle) for array in (image, out)]
            if views[1].shape != views[0].shape:
                raise BundleError(f"`out` must be a uint8 device array of shape {list(shape)}")
            for one in views:
                if one.stream is not None:
                    lane.stream.wait_for(one.stream)
            lane.run_in_place(views[0].pointer, views[1].pointer)
        except DeviceError:
            self._drop(lane)
            raise
        except BundleError:
            self._give_back(batch, lane)
            raise
        self._give_back(batch, lane)
        return out

    def _take(self, shape: tuple[int, ...], wait: bool) -> Lane:
        """A lane for pictures of this shape, free or new. With all at work, wait or raise DeviceError."""
        with self._changed:
            while True:
                for index in range(len(self._free) - 1, -1, -1):
                    if self._free[index][0] == shape:
                        lane = self._free.pop(index)[1]
                        self._used.append(lane.profile)
                        return lane
                profile = self._profile(shape)
                if profile is not None and len(self._used) + len(self._free) >= MAX_LANES and self._free:
                    self._free.pop(0)[1].close()
                if profile is not None and len(self._used) < (MAX_LANES if wait else MAX_LANES - 1):
                    lane = Lane(self._engine, {INPUT: shape}, profile)
                    self._notes[f"no CUDA graph: {lane.graph_note}" if lane.graph_note else "CUDA graph"] = None
                    self._used.append(profile)
                    return lane
                if not wait:
                    raise DeviceError("too many requests in flight: take a result before the next submit")
                self._changed.wait()

    def _profile(self, shape: tuple[int, ...]) -> int | None:
        """The optimisation profile of a shape; None while every one of its is at work and they cannot be shared."""
        count = self._engine.num_optimization_profiles
        if count <= 1:
            return 0
        fitting = [i for i in range(count) if tuple(self._engine.get_tensor_profile_shape(INPUT, i)[2]) == shape]
        if not fitting:
            raise BundleError(f"the plan has no profile for pictures of shape {list(shape)}; build the engine again")
        if shares_profiles(trt.__version__):
            return fitting[0]
        taken = {*self._used, *(lane.profile for _, lane in self._free)}
        return next((index for index in fitting if index not in taken), None)

    def _give_back(self, shape: tuple[int, ...], lane: Lane) -> None:
        with self._changed:
            self._used.remove(lane.profile)
            self._free.append((shape, lane))
            self._changed.notify()

    def _drop(self, lane: Lane) -> None:
        """A lane on which the GPU failed, or that was changed, is not used again."""
        with self._changed:
            self._used.remove(lane.profile)
            lane.close()
            self._changed.notify()

    def split(self, images: Picture, runs: int) -> list[Split]:
        """Upload, net and download of `images` [N, H, W, 3] that fit, timed by events on the GPU, over `runs` runs
        after warm-up and without a CUDA graph. Raises DeviceError."""
        lane = self._take(images.shape, wait=True)
        np.copyto(lane.host[INPUT].array, images)
        try:
            return [lane.split() for _ in range(PROFILE_WARMUP + runs)][PROFILE_WARMUP:]
        finally:
            self._give_back(images.shape, lane)

    def profile(self, images: Picture, runs: int) -> list[LayerTime]:
        """Without a CUDA graph, and waiting for every kernel."""
        times_ms: dict[str, list[float]] = {}

        class Profiler(trt.IProfiler):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times_ms.setdefault(layer_name, []).append(ms)

        profiler = Profiler()
        lane = self._take(images.shape, wait=True)
        try:
            np.copyto(lane.host[INPUT].array, images)
            lane.context.profiler = profiler
            for _ in range(PROFILE_WARMUP + runs):
                lane.run_plain()
        finally:
            self._drop(lane)  # its context keeps the profiler
        known = read_layers(self._report)
        times = []
        for name, samples in times_ms.items():
            kind, work = known.get(name, ("?", None))
            times.append(LayerTime(name, kind, tuple(samples[-runs:]), work))
        return times

    def close(self) -> None:
        with self._changed:
            for _, lane in self._free:
                lane.close()
            self._free.clear()
        del self._engine, self._runtime
