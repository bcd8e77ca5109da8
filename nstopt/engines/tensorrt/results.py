"""The memory of results on the GPU, used again: cudaMalloc may take longer than a small net, and cudaFree waits for all
work of the GPU."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import NamedTuple

from nstopt.engines.tensorrt.arrays import DeviceArray
from nstopt.engines.tensorrt.cuda import DeviceMemory

# Pieces of memory that are kept for further results.
MAX_KEPT = 8


class Result(NamedTuple):
    """A new result. If it `is_reused`, work on the GPU may still read what stood there before."""

    array: DeviceArray
    is_reused: bool


class ResultPool:
    """Makes the arrays of results. Memory comes back when an array is no longer referenced, in whichever thread."""

    def __init__(self) -> None:
        self._kept: list[DeviceMemory] = []
        self._closed = False
        self._lock = threading.RLock()  # the garbage collector may run while it is held

    def take(self, shape: tuple[int, ...]) -> Result:
        """Return a uint8 array of `shape`. Raises DeviceError if there is no memory."""
        size = math.prod(shape)
        with self._lock:
            memory = next((one for one in reversed(self._kept) if one.size == size), None)
            if memory is not None:
                self._kept.remove(memory)
        is_reused = memory is not None
        memory = memory or DeviceMemory(size)
        return Result(DeviceArray(memory.pointer, shape, partial(self._give_back, memory)), is_reused)

    def _give_back(self, memory: DeviceMemory) -> None:
        with self._lock:
            self._kept.append(memory)
            surplus = self._kept[:] if self._closed else self._kept[:-MAX_KEPT]
            del self._kept[: len(surplus)]
        for one in surplus:
            one.close()

    def close(self) -> None:
        """Free what is kept, and from now on what comes back."""
        with self._lock:
            self._closed, kept, self._kept = True, self._kept, []
        for one in kept:
            one.close()
