"""CUDA's runtime, the little of it that an engine needs: streams, events, memory, graphs. The one module that names
cuda-python. Every failure is a DeviceError with CUDA's own name for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import NDArray

from nstopt.errors import DeviceError


def call(what: str, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """The result of one of CUDA's functions. Raises DeviceError; `what` says what was being done."""
    try:
        error, *values = function(*arguments)
    except RuntimeError as missing:  # so cuda-python says that the driver has no such function
        raise DeviceError(f"the GPU failed while {what}: {missing}") from missing
    if error != cudart.cudaError_t.cudaSuccess:
        take_error()
        raise DeviceError(f"the GPU failed while {what}: {_said(error)}")
    return values[0] if values else None


def take_error() -> str:
    """What CUDA said of the last failure of this thread, empty if there was none. CUDA keeps it and gives it to whoever
    asks next; afterwards it is forgotten."""
    (error,) = cudart.cudaGetLastError()
    return "" if error == cudart.cudaError_t.cudaSuccess else _said(error)


def _said(error: Any) -> str:
    return f"{error.name}: {cudart.cudaGetErrorString(error)[1].decode()}"


class Stream:
    """A queue of work on the GPU that waits for no other queue."""

    def __init__(self) -> None:
        self._stream = call("making a stream", cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        """Wait until everything in the queue is done."""
        call("running the engine", cudart.cudaStreamSynchronize, self._stream)

    def wait_for(self, other: int) -> None:
        """Let what comes next wait for what the stream of handle `other` has been given so far."""
        event = Event()
        try:
            call("waiting for another stream", cudart.cudaEventRecord, event.event, other)
            call("waiting for another stream", cudart.cudaStreamWaitEvent, self._stream, event.event, 0)
        finally:
            event.close()

    def upload(self, target: int, source: int, size: int) -> None:
        """Copy from the host to the GPU."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        call("copying to the GPU", cudart.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def download(self, target: int, source: int, size: int) -> None:
        """Copy from the GPU to the host."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call("copying from the GPU", cudart.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy on the GPU."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        call("copying on the GPU", cudart.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        """What `enqueue` puts into this stream, as a graph. Raises DeviceError if it cannot be one."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call("capturing a CUDA graph", cudart.cudaStreamBeginCapture, self._stream, mode)
        try:
            enqueue()
        except BaseException:
            for graph in cudart.cudaStreamEndCapture(self._stream)[1:]:  # its own error says less
                if graph is not None:
                    cudart.cudaGraphDestroy(graph)
            take_error()
            raise
        return Graph(call("capturing a CUDA graph", cudart.cudaStreamEndCapture, self._stream))

    def close(self) -> None:
        cudart.cudaStreamDestroy(self._stream)


class Event:
    """A moment in a stream."""

    def __init__(self) -> None:
        self.event = call("making an event", cudart.cudaEventCreate)

    def record(self, stream: Stream) -> None:
        call("timing the engine", cudart.cudaEventRecord, self.event, stream.handle)

    def ms_since(self, earlier: Event) -> float:
        """Milliseconds on the GPU's clock; both moments must have passed."""
        return float(call("timing the engine", cudart.cudaEventElapsedTime, earlier.event, self.event))

    def close(self) -> None:
        cudart.cudaEventDestroy(self.event)


class Graph:
    """Work that was captured from a stream and is handed to the GPU in one call."""

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
    """Bytes on the GPU."""

    def __init__(self, size: int) -> None:
        self.pointer = int(call(f"allocating {size} bytes", cudart.cudaMalloc, size))

    def close(self) -> None:
        cudart.cudaFree(self.pointer)


class PinnedMemory:
    """Bytes of the host that the GPU copies by itself. `array` is a view of them."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        size = int(np.prod(shape)) * dtype.itemsize
        flags = cudart.cudaHostAllocDefault
        self.pointer = int(call(f"allocating {size} bytes of host memory", cudart.cudaHostAlloc, size, flags))
        raw = (ctypes.c_uint8 * size).from_address(self.pointer)
        self.array: NDArray[Any] = np.ctypeslib.as_array(raw).view(dtype).reshape(shape)

    def close(self) -> None:
        cudart.cudaFreeHost(self.pointer)


def version() -> str:
    """Of the CUDA runtime that cuda-python brings: `12.6`."""
    number = int(call("asking for its version", cudart.cudaRuntimeGetVersion))
    return f"{number // 1000}.{number % 1000 // 10}"
