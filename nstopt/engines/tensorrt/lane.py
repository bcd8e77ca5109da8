"""A lane: all that one request needs at a time. An execution context for one shape, a stream, memory that is allocated
once, and a CUDA graph."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.engines.engine import Port
from nstopt.engines.tensorrt.cuda import DeviceMemory, Event, Graph, PinnedMemory, Stream, take_error
from nstopt.errors import DeviceError

Shape = tuple[int, ...]
# trt.nptype is no use here: in 8.x it names numpy types that no longer exist.
NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "UINT8": np.uint8,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
# Pairs of device addresses that a lane keeps a CUDA graph for; the least recently used one leaves.
MAX_PAIRS = 8
# Bytes. TensorRT requires addresses with this alignment; those of cudaMalloc have it.
ALIGNMENT = 256


class Split(NamedTuple):
    """Milliseconds of the parts of one run, on the GPU's clock."""

    upload_ms: float
    net_ms: float
    download_ms: float


class Lane:
    """Runs one request at a time. `host` holds the pinned memory of each tensor by name. `graph_note` says why there is
    no CUDA graph; it is empty if there is one."""

    def __init__(self, engine: Any, shapes: Mapping[str, Shape], profile: int, use_graph: bool = True) -> None:
        """Allocate everything for an ICudaEngine, for input `shapes` by name and the index `profile` of their
        optimization profile. Raises DeviceError."""
        self.shapes = dict(shapes)
        self.profile = profile
        self.context: Any = None
        self.host: dict[str, PinnedMemory] = {}
        self._device: dict[str, DeviceMemory] = {}
        self._graph: Graph | None = None
        self._pairs: dict[tuple[int, int], Graph | None] = {}
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
        # Only the first context of an engine starts with a profile, profile 0.
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
            self._bind(name, self._device[name].pointer)

    def _bind(self, name: str, pointer: int) -> None:
        if not self.context.set_tensor_address(name, pointer):
            raise DeviceError(f"TensorRT refuses the address {pointer:#x} for '{name}'")

    def _capture(self) -> None:
        """Capture a run as a CUDA graph. TensorRT finishes its setup in the first run after a shape was set, so one run
        comes before the capture."""
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
        """Start a run on the inputs' `host` memory without waiting for it."""
        if self._graph is not None:
            self._graph.launch(self.stream)
        else:
            self._enqueue()

    def finish(self) -> None:
        """Wait until the results are in the outputs' `host` memory. Raises DeviceError if the GPU failed."""
        self.stream.synchronize()

    def run_plain(self) -> None:
        """Run on the inputs' `host` memory without the CUDA graph, and wait."""
        self._enqueue()
        self.finish()

    def run_in_place(self, source: int, target: int) -> None:
        """Run on the caller's device memory at the addresses `source` and `target`, and wait. The addresses in a CUDA
        graph are fixed; a pair of them gets a graph of its own when it comes for the second time. Memory that overlaps
        or is not aligned is copied on the GPU. Raises DeviceError."""
        (own_input, size), (own_output, _) = self._own(self.inputs[0]), self._own(self.outputs[0])
        if (graph := self._pairs.get((source, target))) is not None:
            self._pairs[source, target] = self._pairs.pop((source, target))  # now the last one
            graph.launch(self.stream)
            self.stream.synchronize()
            return
        read = source if source % ALIGNMENT == 0 and abs(source - target) >= size else own_input
        written = target if target % ALIGNMENT == 0 else own_output
        try:
            self._bind(self.inputs[0], read)
            self._bind(self.outputs[0], written)
            if read != source:
                self.stream.copy(read, source, size)
            self._run()
            if written != target:
                self.stream.copy(target, written, size)
            self.stream.synchronize()
            if (read, written) == (source, target):
                self._capture_pair(source, target)
        finally:
            self._bind(self.inputs[0], own_input)
            self._bind(self.outputs[0], own_output)

    def _capture_pair(self, source: int, target: int) -> None:
        """Capture a run at these addresses, which are bound and have run, unless they come for the first time."""
        if self.graph_note:
            return
        seen = (source, target) in self._pairs
        if not seen and len(self._pairs) == MAX_PAIRS:
            graph = self._pairs.pop(next(iter(self._pairs)))
            if graph is not None:
                graph.close()
        self._pairs.pop((source, target), None)  # so that it comes last
        with contextlib.suppress(DeviceError):  # runs go on without a graph
            self._pairs[source, target] = self.stream.capture(self._run) if seen else None

    def _own(self, name: str) -> tuple[int, int]:
        """Return the address and the size in bytes of the lane's device memory for a tensor."""
        return self._device[name].pointer, self.host[name].array.nbytes

    def split(self) -> Split:
        """Run once without the CUDA graph, timed with CUDA events. Raises DeviceError."""
        with contextlib.ExitStack() as stack:
            events = [stack.enter_context(contextlib.closing(Event())) for _ in range(4)]
            events[0].record(self.stream)
            for step, event in zip((self._upload, self._run, self._download), events[1:], strict=True):
                step()
                event.record(self.stream)
            self.stream.synchronize()
            return Split(*(later.ms_since(earlier) for earlier, later in itertools.pairwise(events)))

    def close(self) -> None:
        """Wait for the stream, then free everything."""
        with contextlib.suppress(DeviceError):
            self.stream.synchronize()
        for graph in (self._graph, *self._pairs.values()):
            if graph is not None:
                graph.close()
        self.context = None
        for pinned in self.host.values():
            pinned.close()
        for memory in self._device.values():
            memory.close()
        self.stream.close()

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run on arrays of the inputs by name and return copies of the outputs. Raises DeviceError."""
        for name in self.inputs:
            np.copyto(self.host[name].array, feed[name])
        self.start()
        self.finish()
        return [self.host[name].array.copy() for name in self.outputs]


def ports_of(engine: Any) -> list[Port]:
    """Describe the inputs and outputs of an ICudaEngine."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    dims = ((None if side < 0 else int(side) for side in engine.get_tensor_shape(name)) for name in names)
    types = (engine.get_tensor_dtype(name).name.lower() for name in names)
    return [Port(*one) for one in zip(names, types, map(tuple, dims), strict=True)]


def is_dynamic(engine: Any) -> bool:
    """Return True if a tensor of an ICudaEngine has a dynamic dimension, so that contexts need an optimization
    profile."""
    return any(None in port.dims for port in ports_of(engine))
