"""Base class of loaded engines."""

from __future__ import annotations

import statistics
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nstopt.errors import BundleError, DeviceError
from nstopt.graph.work import Work
from nstopt.manifest import InputShape, Manifest
from nstopt.pictures.size import MIN_SIDE, Size

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture

INPUT, OUTPUT = "image", "stylized"


class LayerTime(NamedTuple):
    """One kernel of an engine: its name (the graph layer's, where the backend keeps it), its operation in the backend's
    words, the milliseconds of each run, and its work. `work` is None for a kernel that the backend inserted by itself,
    such as a change of layout."""

    name: str
    kind: str
    samples_ms: tuple[float, ...]
    work: Work | None

    @property
    def ms(self) -> float:
        """The median."""
        return statistics.median(self.samples_ms)


class InferRequest:
    """A request in flight."""

    def __init__(self, shape: tuple[int, ...], finish: Callable[[Picture | None], None]) -> None:
        """`finish` waits for the request and writes the result, or drops it if given None. It is called once."""
        self._shape = shape
        self._finish: Callable[[Picture | None], None] | None = finish

    def result(self, out: Picture | None = None) -> Picture:
        """Wait for the stylized picture, of the shape that was submitted. It is written to `out` if given, as by
        `Engine.__call__`. Raises BundleError if it was taken before or `out` does not fit, DeviceError if the device
        fails."""
        if self._finish is None:
            raise BundleError("the result of this request was taken before")
        if out is None:
            out = np.empty(self._shape, np.uint8)
        else:
            check_out(out, self._shape)
        finish, self._finish = self._finish, None
        finish(out)
        return out

    def __del__(self) -> None:
        if self._finish is not None:
            self._finish(None)


def check_out(out: Picture, shape: tuple[int, ...]) -> None:
    """Raises BundleError if a result of `shape` cannot be written to `out`."""
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.carray:
        raise BundleError(f"`out` must be a writable C-contiguous uint8 array of shape {list(shape)}")


class Port(NamedTuple):
    """An input or output of an engine: its name, element type, and dimensions, None for those that are free."""

    name: str
    type: str
    dims: tuple[int | None, ...]


def require_ports(name: str, shape: InputShape, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Check that an engine has the ports that its manifest's `shape` states: it takes these pictures, no more and no
    fewer. An engine of several sizes leaves the size free. An output dimension may be free although the input's is not:
    runtimes cannot always tell, and check the result. Raises BundleError, which calls the engine `name`."""
    dims = (shape.batch, *(shape.sizes.only or (None, None)), 3)
    takes = list(inputs) == [Port(INPUT, "uint8", dims)]
    known = [
        port._replace(dims=tuple(stated if own is None else own for own, stated in zip(port.dims, dims, strict=False)))
        for port in outputs
    ]
    if not takes or known != [Port(OUTPUT, "uint8", dims)]:
        found = "; ".join(f"{port.name} {port.type} {_listed(port.dims)}" for port in (*inputs, *outputs))
        raise BundleError(
            f"{name}: not the engine that its manifest states, {INPUT} and {OUTPUT} uint8 {_listed(dims)}, "
            f"but {found}; build the engine again"
        )


def _listed(dims: Sequence[int | None]) -> str:
    return f"[{', '.join('any' if one is None else str(one) for one in dims)}]"


class Engine(ABC):
    """A loaded engine: uint8 RGB pictures in, stylized uint8 RGB pictures of the same size out.

    Calls may come from several threads; they run one after the other. Use it as a context manager, or `close` it.
    `shape` states the pictures that it takes; `name` is what messages call it. `nstopt.load` sets `manifest` to that of
    the engine's bundle."""

    manifest: Manifest

    def __init__(self, shape: InputShape, name: str = "this engine") -> None:
        self.shape = shape
        self.name = name
        self._lock: AbstractContextManager[object] = threading.Lock()

    def __call__(self, image: Picture, out: Picture | None = None) -> Picture:
        """Stylize `image`, uint8 RGB [H, W, 3] or [N, H, W, 3]; returns an array of the same shape.

        The result is written to `out` if given (same shape, C-contiguous), else to a new array. A C-contiguous
        `image` that is writable and does not overlap `out` is read in place; any other is copied. Raises BundleError if
        the picture does not fit the engine, DeviceError if the device fails.
        """
        batch = self._checked(image)
        if out is None:
            out = np.empty(image.shape, np.uint8)
        else:
            check_out(out, image.shape)
            if np.may_share_memory(batch, out):
                batch = batch.copy()
        with self._lock:
            self._infer(batch, out.reshape(batch.shape))
        return out

    def submit(self, image: Picture) -> InferRequest:
        """Begin to stylize `image`, as `__call__` takes it, and return the request; its `result()` waits. `image` must
        not be changed before. Some backends have several requests in flight; others stylize here and at once."""
        done = self(image)
        return InferRequest(image.shape, lambda out: None if out is None else np.copyto(out, done))

    @property
    def streams(self) -> int:
        """How many submitted pictures the engine works on side by side. While so many are submitted, and one more, the
        device is never idle."""
        return 1

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about how this engine runs that a reader of its timings should know."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The notes about what costs speed."""
        return ()

    def _checked(self, image: Picture) -> Picture:
        """Return the picture as a batch that fits, in memory that runtimes take: C-contiguous and writable (np.asarray
        makes Pillow's pictures read-only). Raises BundleError."""
        if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
            raise BundleError(
                f"engine takes uint8 RGB arrays [H, W, 3] or [N, H, W, 3], not {image.dtype} {list(image.shape)}"
            )
        batch = np.require(image if image.ndim == 4 else image[None], requirements=["C", "W"])
        self._check_fits(batch.shape)
        return batch

    def _check_fits(self, shape: tuple[int, ...]) -> None:
        batch, size = shape[0], Size(*shape[1:3])
        if size not in self.shape.sizes or self.shape.batch not in (None, batch):
            raise BundleError(
                f"{self.name} is built for pictures of (batch x height x width) {self.shape}, not {batch}x{size}; "
                f"build with --res {size} --batch {batch}"
            )
        if min(size) < MIN_SIDE:
            raise BundleError(f"a picture of {size} is too small: each side needs {MIN_SIDE} pixels")

    @abstractmethod
    def _infer(self, images: Picture, out: Picture) -> None:
        """Stylize C-contiguous uint8 `images` [N, H, W, 3] that fit into `out`, of the same shape. Raises
        DeviceError."""

    def profile(self, images: Picture, runs: int) -> list[LayerTime]:
        """Time each layer on C-contiguous uint8 `images` [N, H, W, 3] that fit, over `runs` runs after warm-up, in the
        order in which they run. Raises DeviceError, also where the backend gives no per-layer times."""
        raise DeviceError(f"{self.name}: its backend gives no per-layer times")

    def close(self) -> None:
        """Free the device's memory. The engine cannot be called afterwards."""
        return

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
