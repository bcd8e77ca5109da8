"""Tensors on disk, written and read by rows.

A file holds row after row, [H, W, C], so that a strip is one run of bytes. Files are read and written, not mapped,
since mapped pages count as memory of the process. A tensor that is no longer needed leaves its file to the next one:
pages that the system holds already are written many times as fast as new ones.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nstopt.errors import DeviceError

# Bytes that one thread moves at a time.
RUN_BYTES = 8 << 20
Shape = tuple[int, int, int]


def spill_folder() -> Path:
    """Folder for tensors on disk: $TMPDIR, or /var/tmp, since /tmp may be in memory."""
    return Path(os.environ.get("TMPDIR") or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()))


class SpilledTensor:
    """A tensor on disk, as rows: `shape` is (H, W, C)."""

    def __init__(self, file: int, shape: Shape, dtype: DTypeLike, pool: Executor) -> None:
        self.file = file
        self._shape = shape
        self._pool = pool
        self._rows: NDArray[Any] = np.empty((0, *shape[1:]), dtype)

    def write(self, rows: NDArray[Any], begin: int) -> None:
        """Write `rows`, [count, W, C], as rows `begin` and following. Raises DeviceError if that fails."""
        self._transfer(os.pwritev, rows, begin)

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Return rows `begin` to `end`, [1, end - begin, W, C]. They are valid until the next call. Raises DeviceError
        if that fails."""
        if len(self._rows) != end - begin:
            self._rows = np.empty((end - begin, *self._shape[1:]), self._rows.dtype)
        self._transfer(os.preadv, self._rows, begin)
        return self._rows[None]

    def _transfer(self, call: Callable[[int, Sequence[memoryview], int], int], rows: NDArray[Any], begin: int) -> None:
        """Move `rows` in runs that the threads of the pool share."""
        if not len(rows):
            return
        line = rows[0].nbytes
        many = max(1, RUN_BYTES // line)

        def move(first: int) -> int:
            return call(self.file, [rows[first : first + many].data], (begin + first) * line)

        try:
            moved = sum(self._pool.map(move, range(0, len(rows), many)))
        except OSError as error:
            raise DeviceError(f"cannot use a temporary file in {spill_folder()}: {error.strerror}") from error
        if moved != rows.nbytes:
            raise DeviceError(f"cannot use a temporary file in {spill_folder()}: the disk is full")


class SpillFiles:
    """The files of spilled tensors. They have no names, so that none is left over, whatever ends the process."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._free: list[int] = []
        self._opened = ExitStack()

    def new(self, shape: Shape, dtype: DTypeLike) -> SpilledTensor:
        """Return a tensor to write."""
        if not self._free:
            file = tempfile.TemporaryFile(dir=spill_folder(), buffering=0)  # noqa: SIM115 - _opened closes it
            self._free.append(self._opened.enter_context(file).fileno())
        return SpilledTensor(self._free.pop(), shape, dtype, self._pool)

    def drop(self, tensor: SpilledTensor) -> None:
        """Take back the file of a tensor that is no longer needed."""
        self._free.append(tensor.file)

    def __enter__(self) -> SpillFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def require_space(needed: int) -> None:
    """Raise DeviceError if the disk has less than `needed` bytes free."""
    folder = spill_folder()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DeviceError(
            f"{folder} has {free / 2**30:.1f} GiB free, and {needed / 2**30:.1f} GiB of intermediate results go there: "
            "set TMPDIR to a folder on a larger disk, or raise --max-memory"
        )
