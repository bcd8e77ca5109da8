"""The part of the CUDA runtime that an engine needs: streams, events, memory, graphs. The only module that imports
cuda-python. Every failure raises DeviceError with CUDA's error name."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import NDArray

from nstopt.errors import DeviceError


def call(action: str, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """Call a CUDA function and return its result without the error code. Raises DeviceError, whose message names
    `action`."""
    try:
        error, *values = function(*arguments)
    except RuntimeError as missing:  # cuda-python's report that the driver has no such function
        raise DeviceError(f"the GPU failed while {action}: {missing}") from missing
    if error != cudart.cudaError_t.cudaSuccess:
        take_error()
        raise DeviceError(f"the GPU failed while {action}: {_describe(error)}")
    return values[0] if values else None


def take_error() -> str:
    """Return and clear the last CUDA error of this thread; empty if there was none. CUDA keeps an error until it is
    read, so one left behind would be blamed on the next call."""
    (error,) = cudart.cudaGetLastError()
    return "" if error == cudart.cudaError_t.cudaSuccess else _describe(error)


def _describe(error: Any) -> str:
    return f"{error.name}: {cudart.cudaGetErrorString(error)[1].decode()}"


class Stream:
    """A non-blocking CUDA stream: it does not synchronize with the default stream."""

    def __init__(self) -> None:
        self._stream = call("making a stream", cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        """Wait until all work in the stream is done. Raises DeviceError if any of it failed."""
        call("running the engine", cudart.cudaStreamSynchronize, self._stream)

    def wait_for(self, other: int) -> None:
        """Make later work of this stream wait for all work that the stream of handle `other` holds now."""
        event = Event()
        try:
            call("waiting for another stream", cudart.cudaEventRecord, event.event, other)
            call("waiting for another stream", cudart.cudaStreamWaitEvent, self._stream, event.event, 0)
        finally:
            event.close()

    def upload(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes from host to device memory, asynchronously."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        call("copying to the GPU", cudart.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def download(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes from device to host memory, asynchronously."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call("copying from the GPU", cudart.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes within device memory, asynchronously."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        call("copying on the GPU", cudart.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        """Capture the work that `enqueue` puts into this stream as a CUDA graph. Raises DeviceError if it cannot be
        captured."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call("capturing a CUDA graph", cudart.cudaStreamBeginCapture, self._stream, mode)
        try:
            enqueue()
        except BaseException:
            for graph in cudart.cudaStreamEndCapture(self._stream)[1:]:  # its error code says less than the exception
                if graph is not None:
                    cudart.cudaGraphDestroy(graph)
            take_error()
            raise
        return Graph(call("capturing a CUDA graph", cudart.cudaStreamEndCapture, self._stream))

    def close(self) -> None:
        cudart.cudaStreamDestroy(self._stream)


class Event:
    """A point in a stream whose time is recorded."""

    def __init__(self) -> None:
        self.event = call("making an event", cudart.cudaEventCreate)

    def record(self, stream: Stream) -> None:
        call("timing the engine", cudart.cudaEventRecord, self.event, stream.handle)

    def ms_since(self, earlier: Event) -> float:
        """Return the milliseconds since `earlier` on the GPU's clock. Both events must have completed."""
        return float(call("timing the engine", cudart.cudaEventElapsedTime, earlier.event, self.event))

    def close(self) -> None:
        cudart.cudaEventDestroy(self.event)


class Graph:
    """An instantiated CUDA graph: captured work that is launched in one call."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        try:
            self._executable = call("making a CUDA graph", cudart.cudaGraphInstantiate, graph, 0)
        except DeviceError:
            cudart.cudaGraphDestroy(graph)
            raise

    def launch(self, stream: Stream) -> None:
        call("launching a CUDA graph", cudart.cudaGraphLaunch, self._executable, stream.handle)

    def close(self) -> None:
        cudart.cudaGraphExecDestroy(self._executable)
        cudart.cudaGraphDestroy(self._graph)


class DeviceMemory:
    """`size` bytes of device memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pointer = int(call(f"allocating {size} bytes", cudart.cudaMalloc, size))

    def close(self) -> None:
        cudart.cudaFree(self.pointer)


class PinnedMemory:
    """Page-locked host memory, which the GPU copies without the CPU. `array` is a numpy view of it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        size = int(np.prod(shape)) * dtype.itemsize
        flags = cudart.cudaHostAllocDefault
        self.pointer = int(call(f"allocating {size} bytes of host memory", cudart.cudaHostAlloc, size, flags))
        raw = (ctypes.c_uint8 * size).from_address(self.pointer)
        self.array: NDArray[Any] = np.ctypeslib.as_array(raw).view(dtype).reshape(shape)

    def close(self) -> None:
        cudart.cudaFreeHost(self.pointer)
