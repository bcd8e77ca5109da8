"""One request's way through an engine: an execution context for one shape, a stream, memory allocated once, a CUDA
graph."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.engines.tensorrt.cuda import DeviceMemory, Event, Graph, PinnedMemory, Stream, take_error
from nstopt.errors import DeviceError

Shape = tuple[int, ...]
# trt.nptype of 8.x names numpy types that no longer exist.
NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "UINT8": np.uint8,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
# Of the addresses that TensorRT is given; all that cudaMalloc gives have it.
ALIGNMENT = 256


class Split(NamedTuple):
    """Milliseconds of one run on the GPU's clock."""

    upload_ms: float
    net_ms: float
    download_ms: float


class Lane:
    """Runs one request at a time. `graph_note` says why there is no CUDA graph; empty where there is one."""

    def __init__(self, engine: Any, shapes: Mapping[str, Shape], profile: int, use_graph: bool = True) -> None:
        """`shapes` of the inputs; `profile` is the optimization profile they belong to. Raises DeviceError."""
        self.shapes = dict(shapes)
        self.profile = profile
        self.context: Any = None
        self.host: dict[str, PinnedMemory] = {}
        self._device: dict[str, DeviceMemory] = {}
        self._graph: Graph | None = None
        self.graph_note = "not asked for"
        self.stream = Stream()
        try:
            self._make_context(engine)
            self._allocate(engine)
            if use_graph:
                self._capture()
        except BaseException:
            self.close()
            raise

    def _make_context(self, engine: Any) -> None:
        self.context = engine.create_execution_context()
        if self.context is None:
            take_error()
            raise DeviceError("TensorRT cannot make an execution context: not enough GPU memory for another request")
        # Only the first context of an engine starts with a profile, the first one.
        if is_dynamic(engine) and not self.context.set_optimization_profile_async(self.profile, self.stream.handle):
            raise DeviceError(f"TensorRT refuses optimization profile {self.profile}")
        for name, shape in self.shapes.items():
            if not self.context.set_input_shape(name, shape):
                raise DeviceError(f"TensorRT refuses the shape {list(shape)} for '{name}'")

    def _allocate(self, engine: Any) -> None:
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self.inputs = tuple(name for name in names if name in self.shapes)
        self.outputs = tuple(name for name in names if name not in self.shapes)
        for name in names:
            dtype: np.dtype[Any] = np.dtype(NUMPY[engine.get_tensor_dtype(name).name])
            self.host[name] = PinnedMemory(tuple(self.context.get_tensor_shape(name)), dtype)
            self._device[name] = DeviceMemory(self.host[name].array.nbytes)
            self._point(name, self._device[name].pointer)

    def _point(self, name: str, pointer: int) -> None:
        if not self.context.set_tensor_address(name, pointer):
            raise DeviceError(f"TensorRT refuses the address {pointer:#x} for '{name}'")

    def _capture(self) -> None:
        """TensorRT does its last preparations in the first run after a shape was set, which a graph must not hold."""
        self._enqueue()
        self.stream.synchronize()
        try:
            self._graph = self.stream.capture(self._enqueue)
            self.graph_note = ""
        except DeviceError as error:
            self.graph_note = str(error)

    def _enqueue(self) -> None:
        self._upload()
        self._run()
        self._download()

    def _upload(self) -> None:
        for name in self.inputs:
            self.stream.upload(self._device[name].pointer, self.host[name].pointer, self.host[name].array.nbytes)

    def _download(self) -> None:
        for name in self.outputs:
            self.stream.download(self.host[name].pointer, self._device[name].pointer, self.host[name].array.nbytes)

    def _run(self) -> None:
        if not self.context.execute_async_v3(self.stream.handle):
            raise DeviceError(f"the GPU failed while starting the engine: {take_error() or 'TensorRT refused'}")

    def start(self) -> None:
        """Send what is in the inputs' `host` memory on its way; does not wait."""
        if self._graph is not None:
            self._graph.launch(self.stream)
        else:
            self._enqueue()

    def finish(self) -> None:
        """Wait until the results are in the outputs' `host` memory. Raises DeviceError if the GPU failed."""
        self.stream.synchronize()

    def run_plain(self) -> None:
        """Run on what is in the inputs' `host` memory without the CUDA graph, and wait."""
        self._enqueue()
        self.finish()

    def run_in_place(self, source: int, target: int) -> None:
        """Run on memory of the caller's, and wait. Without a CUDA graph, whose addresses are fixed. Memory that the net
        cannot use, because it overlaps or is not aligned, is copied on the GPU."""
        (read, size), (written, _) = self._own(self.inputs[0]), self._own(self.outputs[0])
        used = source if source % ALIGNMENT == 0 and abs(source - target) >= size else read
        made = target if target % ALIGNMENT == 0 else written
        try:
            self._point(self.inputs[0], used)
            self._point(self.outputs[0], made)
            if used != source:
                self.stream.copy(used, source, size)
            self._run()
            if made != target:
                self.stream.copy(target, made, size)
            self.stream.synchronize()
        finally:
            self._point(self.inputs[0], read)
            self._point(self.outputs[0], written)

    def _own(self, name: str) -> tuple[int, int]:
        """(address, bytes) of the lane's device memory for a tensor."""
        return self._device[name].pointer, self.host[name].array.nbytes

    def split(self) -> Split:
        """Run once, timed by events on the GPU."""
        with contextlib.ExitStack() as stack:
            events = [stack.enter_context(contextlib.closing(Event())) for _ in range(4)]
            events[0].record(self.stream)
            for step, event in zip((self._upload, self._run, self._download), events[1:], strict=True):
                step()
                event.record(self.stream)
            self.stream.synchronize()
            return Split(*(later.ms_since(earlier) for earlier, later in itertools.pairwise(events)))

    def close(self) -> None:
        """Wait for what is under way, then give everything back."""
        with contextlib.suppress(DeviceError):
            self.stream.synchronize()
        if self._graph is not None:
            self._graph.close()
        self.context = None
        for pinned in self.host.values():
            pinned.close()
        for memory in self._device.values():
            memory.close()
        self.stream.close()

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Copies of the outputs for these inputs."""
        for name in self.inputs:
            np.copyto(self.host[name].array, feed[name])
        self.start()
        self.finish()
        return [self.host[name].array.copy() for name in self.outputs]


def is_dynamic(engine: Any) -> bool:
    """Whether an input of this TensorRT engine has a free side, so that its contexts need an optimization profile."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return any(-1 in tuple(engine.get_tensor_shape(name)) for name in names)
