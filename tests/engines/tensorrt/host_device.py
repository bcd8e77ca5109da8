"""A simulated device in host memory, on which host_cuda.py is built: memory, streams that work each in a thread,
failures on demand, and records of all use.

For tests: `fail` makes a function fail, `held` stops all streams, `misuse` lists errors of use (double free, use after
free, ...), `alive` counts objects that were not freed, `calls` counts calls by name.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import enum
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SURFACES: dict[str, Any] = json.loads(Path(__file__).with_name("cuda_surfaces.json").read_text())
SURFACE = SURFACES["13.4.4"]


def _enum(name: str) -> Any:
    """Return an enum with the members recorded from cuda-python."""
    return enum.IntEnum(name, list(SURFACE["enums"][name].items()))


Error: Any = _enum("cudaError_t")
CopyKind: Any = _enum("cudaMemcpyKind")
CaptureMode: Any = _enum("cudaStreamCaptureMode")
LATE_S = 0.0003  # delay of every task
TIMEOUT_S = 20.0
ALIGNMENT = 256
FRESH, FREED = 0xA5, 0x5A  # fill bytes of memory that was not written yet, and of freed memory
Task = Callable[[], None]


class CudaError(Exception):
    """Error of a function or of a stream's work."""

    def __init__(self, error: Any) -> None:
        super().__init__(error.name)
        self.error = error


class Block:
    """Allocated memory. It is never reused, so that a use after free is detected."""

    def __init__(self, kind: str, size: int) -> None:
        self.kind, self.size, self.is_freed = kind, size, False
        self._raw = np.full(size + ALIGNMENT, FRESH, np.uint8)
        start = -self._raw.ctypes.data % ALIGNMENT
        self.bytes = self._raw[start : start + size]
        self.address = int(self.bytes.ctypes.data)


class Moment:
    """A point in time that an event records."""

    def __init__(self) -> None:
        self.passed = threading.Event()
        self.time_s = 0.0


class Capture:
    """The capture of one stream by one thread."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.tasks: list[tuple[Task, bool]] = []
        self.is_broken = False


class Stream:
    """A queue and its worker thread. After a failure, tasks are skipped until the error was reported."""

    def __init__(self, world: HostDevice) -> None:
        self.capture: Capture | None = None
        self._world, self._error = world, Error.cudaSuccess
        self._tasks: queue.SimpleQueue[tuple[Task, bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, task: Task, always: bool = False) -> None:
        """Append a task; if `always`, it runs even after a failure."""
        (self.capture.tasks.append if self.capture else self._tasks.put)((task, always))

    def wait(self) -> Any:
        """Wait for all tasks so far; return and clear their error."""
        done = Moment()
        self._tasks.put((done.passed.set, True))
        if not done.passed.wait(TIMEOUT_S):
            raise AssertionError("a stream does not finish")
        error, self._error = self._error, Error.cudaSuccess
        return error

    def end(self, join: bool = False) -> None:
        """Stop the thread after the queued tasks."""
        self._tasks.put(None)
        if join:
            self._thread.join(TIMEOUT_S)

    def _work(self) -> None:
        while (item := self._tasks.get()) is not None:
            task, always = item
            self._world.gate.wait()
            time.sleep(LATE_S)
            try:
                if always or self._error is Error.cudaSuccess:
                    task()
            except CudaError as failure:
                self._error = failure.error


class HostDevice:
    """The device of one test."""

    def __init__(self) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self.misuse: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self._failures: dict[str, list[Any]] = {}
        self._objects: dict[int, tuple[str, Any]] = {}
        self._blocks: dict[int, Block] = {}
        self._numbers = itertools.count(0x1000, 16)
        self._streams: list[Stream] = []
        self._default: Stream | None = None
        self._last = threading.local()
        self._lock = threading.RLock()

    def fail(self, name: str, error: str, skip: int = 0, times: int = 1) -> None:
        """Make the function or work `name` fail `times` times after `skip` successes."""
        with self._lock:
            self._failures[name] = [None] * skip + [getattr(Error, error)] * times

    def check(self, name: str) -> None:
        """Raise the planned CudaError of `name`, if any."""
        with self._lock:
            planned = self._failures.get(name)
            error = planned.pop(0) if planned else None
        if error is not None:
            raise CudaError(error)

    def note_error(self, error: Any) -> None:
        """Set the last error of this thread."""
        self._last.error = error

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Stop all streams inside the `with` block."""
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()

    def alive(self) -> dict[str, int]:
        """Return the number of objects of each kind that were not freed."""
        with self._lock:
            kinds = [kind for kind, _ in self._objects.values()]
            kinds += [block.kind for block in self._blocks.values() if not block.is_freed]
        return dict(collections.Counter(kinds))

    def end(self) -> None:
        """Stop all threads."""
        for stream in self._streams:
            stream.end(join=True)

    def wrong(self, what: str, error: str = "cudaErrorInvalidValue") -> CudaError:
        """Record a misuse and return its error."""
        self.misuse.append(what)
        return CudaError(getattr(Error, error))

    def add(self, kind: str, thing: Any) -> int:
        """Return a new handle of `thing`."""
        with self._lock:
            handle = next(self._numbers)
            self._objects[handle] = (kind, thing)
        return handle

    def get(self, kind: str, handle: Any) -> Any:
        """Return the object of a handle. Raises CudaError if it is not of `kind`."""
        if kind == "stream" and int(handle) in (0, 1):
            self._default = self._default or self._new_stream()
            return self._default
        with self._lock:
            found, thing = self._objects.get(int(handle), ("nothing", None))
        if found != kind:
            raise self.wrong(f"{int(handle):#x} is {found}, not a {kind}", "cudaErrorInvalidResourceHandle")
        return thing

    def remove(self, kind: str, handle: Any) -> Any:
        """Destroy a handle and return its object."""
        with self._lock:
            thing = self.get(kind, handle)
            del self._objects[int(handle)]
        return thing

    def bytes_at(self, address: int, size: int, kind: str = "device") -> NDArray[np.uint8]:
        """Return `size` bytes of live memory of a kind. Host memory may also be unknown to CUDA. Raises CudaError for
        any other address."""
        with self._lock:
            blocks = [b for b in self._blocks.values() if b.address <= address < b.address + b.size]
        if not blocks and kind == "pinned":
            return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        if not blocks or blocks[0].kind != kind or address + size > blocks[0].address + blocks[0].size:
            raise self.wrong(f"{size} bytes at {address:#x} are not {kind} memory", "cudaErrorIllegalAddress")
        if blocks[0].is_freed:
            raise self.wrong(f"{kind} memory at {address:#x} was used after its free", "cudaErrorIllegalAddress")
        start = address - blocks[0].address
        return blocks[0].bytes[start : start + size]

    def break_captures(self) -> None:
        """Invalidate the captures of this thread after a call that no capture allows. Raises CudaError if there are
        any."""
        mine = [s.capture for s in self._streams if s.capture and s.capture.thread == threading.get_ident()]
        for capture in mine:
            capture.is_broken = True
        if mine:
            raise CudaError(Error.cudaErrorStreamCaptureUnsupported)

    def _new_stream(self) -> Stream:
        self._streams.append(Stream(self))
        return self._streams[-1]

    def _allocate(self, kind: str, size: int) -> int:
        block = Block(kind, size)
        with self._lock:
            self._blocks[block.address] = block
        return block.address

    def _free(self, kind: str, address: Any) -> None:
        with self._lock:
            block = self._blocks.get(int(address))
            if block is None or block.kind != kind or block.is_freed:
                raise self.wrong(f"{int(address):#x} was freed twice, or is not {kind} memory")
            block.is_freed = True
            block.bytes[:] = FREED
