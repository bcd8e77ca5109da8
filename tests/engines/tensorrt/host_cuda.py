"""A double of cuda-python's `cuda.bindings.runtime` in host memory, for tests without a GPU.

Modeled: every stream is a queue with its own thread, so that work is late and a missing synchronization shows; events
have times; a captured graph replays its work with the addresses of the capture; memory is allocated and copied. Names,
parameters, return tuples, enums and error texts are those recorded from cuda-python in cuda_surfaces.json.

Not modeled: there is one device without kernels (host_tensorrt.py adds work), no memory limit, no sticky errors, no
implicit synchronization, no ordering with the default stream, and no speed. Frees that CUDA may tolerate because it
happens to synchronize count as misuse.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .host_device import SURFACE, TIMEOUT_S, Capture, CaptureMode, CopyKind, CudaError, Error, HostDevice, Moment


class Handle:
    """An object that wraps an address, like cuda-python's streams, events and graphs."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __int__(self) -> int:
        return self._value


def api(values: int = 0, unsafe: bool = False) -> Callable[[Callable[..., Any]], Callable[..., tuple[Any, ...]]]:
    """Decorate a CUDA function: it returns the error code and `values` results, each None if it fails. An `unsafe`
    function invalidates the capture of its thread."""

    def decorate(function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        @functools.wraps(function)
        def call(self: HostCuda, *arguments: Any) -> tuple[Any, ...]:
            self.calls[function.__name__] += 1
            try:
                self.check(function.__name__)
                if unsafe:
                    self.break_captures()
                result = function(self, *arguments)
            except CudaError as failure:
                self._last.error = failure.error
                return (failure.error, *[None] * values)
            return (Error.cudaSuccess, *[result] * values)

        return call

    return decorate


class HostCuda(HostDevice):
    """CUDA's functions by their names, on the device of one test."""

    def module(self) -> ModuleType:
        """Return the double of the module `cuda.bindings.runtime`."""
        module: Any = ModuleType("cuda.bindings.runtime")
        for name in SURFACE["functions"]:
            setattr(module, name, getattr(self, name))
        for name, value in SURFACE["constants"].items():
            setattr(module, name, value)
        module.cudaError_t, module.cudaMemcpyKind, module.cudaStreamCaptureMode = Error, CopyKind, CaptureMode
        return module  # type: ignore[no-any-return]

    @api(values=1)
    def cudaStreamCreateWithFlags(self, flags: int) -> Handle:  # noqa: N802
        return Handle(self.add("stream", self._new_stream()))

    @api()
    def cudaStreamSynchronize(self, stream: Any) -> None:  # noqa: N802
        found = self.get("stream", stream)
        if found.capture:
            found.capture.is_broken = True
            raise CudaError(Error.cudaErrorStreamCaptureUnsupported)
        error = found.wait()
        if error is not Error.cudaSuccess:
            raise CudaError(error)

    @api()
    def cudaStreamDestroy(self, stream: Any) -> None:  # noqa: N802
        self.remove("stream", stream).end()

    @api()
    def cudaStreamWaitEvent(self, stream: Any, event: Any, flags: int) -> None:  # noqa: N802
        moment: Moment | None = self.get("event", event)[0]
        if moment is not None:
            self.get("stream", stream).put(lambda: moment.passed.wait(TIMEOUT_S))

    @api()
    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> None:  # noqa: N802
        found = self.get("stream", stream)
        if found.capture:
            raise self.wrong("a stream is captured while it is captured")
        found.capture = Capture()

    @api(values=1)
    def cudaStreamEndCapture(self, stream: Any) -> Handle:  # noqa: N802
        found = self.get("stream", stream)
        if not found.capture or found.capture.thread != threading.get_ident():
            raise self.wrong(
                "a capture is ended by a thread that did not begin it", "cudaErrorStreamCaptureWrongThread"
            )
        capture, found.capture = found.capture, None
        self.check("capture")
        if capture.is_broken:
            raise CudaError(Error.cudaErrorStreamCaptureInvalidated)
        return Handle(self.add("graph", capture.tasks))

    @api()
    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: Any, stream: Any) -> None:  # noqa: N802
        target = "pinned" if kind == CopyKind.cudaMemcpyDeviceToHost else "device"
        source = "pinned" if kind == CopyKind.cudaMemcpyHostToDevice else "device"

        def copy() -> None:
            self.bytes_at(int(dst), count, target)[:] = self.bytes_at(int(src), count, source)

        self.get("stream", stream).put(copy)

    @api(values=1)
    def cudaEventCreate(self) -> Handle:  # noqa: N802
        return Handle(self.add("event", [None]))

    @api()
    def cudaEventRecord(self, event: Any, stream: Any) -> None:  # noqa: N802
        moment = Moment()
        self.get("event", event)[0] = moment

        def pass_by() -> None:
            moment.time_s = time.perf_counter()
            moment.passed.set()

        self.get("stream", stream).put(pass_by, always=True)

    @api(values=1)
    def cudaEventElapsedTime(self, start: Any, end: Any) -> float:  # noqa: N802
        first, last = self.get("event", start)[0], self.get("event", end)[0]
        if first is None or last is None:
            raise CudaError(Error.cudaErrorInvalidResourceHandle)
        if not (first.passed.is_set() and last.passed.is_set()):
            raise CudaError(Error.cudaErrorNotReady)
        return float(last.time_s - first.time_s) * 1e3

    @api()
    def cudaEventDestroy(self, event: Any) -> None:  # noqa: N802
        self.remove("event", event)

    @api(values=1)
    def cudaGraphInstantiate(self, graph: Any, flags: int) -> Handle:  # noqa: N802
        return Handle(self.add("graph executable", tuple(self.get("graph", graph))))

    @api()
    def cudaGraphLaunch(self, graphExec: Any, stream: Any) -> None:  # noqa: N802, N803
        for task, always in self.get("graph executable", graphExec):
            self.get("stream", stream).put(task, always)

    @api()
    def cudaGraphExecDestroy(self, graphExec: Any) -> None:  # noqa: N802, N803
        self.remove("graph executable", graphExec)

    @api()
    def cudaGraphDestroy(self, graph: Any) -> None:  # noqa: N802
        self.remove("graph", graph)

    @api(values=1, unsafe=True)
    def cudaMalloc(self, size: int) -> int:  # noqa: N802
        return self._allocate("device", size)

    @api(unsafe=True)
    def cudaFree(self, devPtr: Any) -> None:  # noqa: N802, N803
        self._free("device", devPtr)

    @api(values=1, unsafe=True)
    def cudaHostAlloc(self, size: int, flags: int) -> int:  # noqa: N802
        return self._allocate("pinned", size)

    @api(unsafe=True)
    def cudaFreeHost(self, ptr: Any) -> None:  # noqa: N802
        self._free("pinned", ptr)

    def cudaGetLastError(self) -> tuple[Any]:  # noqa: N802
        error = getattr(self._last, "error", Error.cudaSuccess)
        self._last.error = Error.cudaSuccess
        return (error,)

    @api(values=1)
    def cudaGetErrorString(self, error: Any) -> bytes:  # noqa: N802
        return SURFACE["errors"][error.name].encode()  # type: ignore[no-any-return]
