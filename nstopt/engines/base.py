"""What every backend and every engine has in common. A backend is one module with a `BACKEND` object of class
Backend."""

from __future__ import annotations

import functools
import statistics
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.bundle import Bundle, Manifest, ShapeInfo
from nstopt.errors import BuildError, BundleError, DeviceError
from nstopt.graph.work import Work
from nstopt.size import MIN_SIDE

Picture = NDArray[np.uint8]
Feed = Mapping[str, NDArray[Any]]
Compiled = Callable[[Feed], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Capabilities:
    """What a backend can be given. `free_zero_point`: the convolution operators whose INT8 inputs may have any zero
    point; that of others must be 0. `unsigned`: whether INT8 inputs may be uint8, too. `takes` is the suffix of the
    model file that `build` reads."""

    precisions: frozenset[str]
    free_zero_point: frozenset[str]
    dynamic_sizes: bool
    unsigned: bool = True
    takes: str = ".onnx"


class Built(NamedTuple):
    """What a backend reports after a build: what the device multiplies in, the device, and the versions used."""

    computes: str
    device: str
    versions: dict[str, str]


class LayerTime(NamedTuple):
    """One kernel of an engine: its name (that of the graph's layer where the backend keeps it), what it does in the
    backend's words, the time of each run, and its work. `work` is None for what the backend put in by itself, such as a
    change of layout: no graph asks for it."""

    name: str
    kind: str
    samples_ms: tuple[float, ...]
    work: Work | None

    @property
    def ms(self) -> float:
        """The median."""
        return statistics.median(self.samples_ms)


class Backend(ABC):
    """Turns a model whose precision is in its graph into files of a bundle, and such files into an engine."""

    name: str
    capabilities: Capabilities

    @abstractmethod
    def build(self, model: Path, shape: ShapeInfo, precision: str, folder: Path) -> Built:
        """Write the engine's files for `model` into `folder`. `precision` says what the graph holds; the backend
        compiles it and never chooses. Raises BuildError or DeviceError."""

    @abstractmethod
    def load(self, bundle: Bundle) -> Engine:
        """Open the engine of a checked bundle. Raises DeviceError."""

    def identity(self) -> str:
        """Backend, version and device: what a measured time is true for."""
        raise BuildError(f"the {self.name} backend has no forms of layers to choose from: build without --tune")

    def compile(self, model: bytes) -> Compiled:
        """An ONNX model as a function of its inputs by name, for searches that judge many models. Raises BuildError."""
        raise BuildError(f"the {self.name} backend takes no ONNX model: choose another --backend")

    def measure(self, models: Sequence[bytes], feed: Feed, rounds: int = 10) -> list[float]:
        """Median milliseconds of a run of each model. They take turns, so that noise of the machine hits all alike."""
        runners = [functools.partial(self.compile(model), feed) for model in models]
        samples: list[list[float]] = [[] for _ in runners]
        for round_ in range(rounds + 2):
            for run, times in zip(runners, samples, strict=True):
                run()  # finds the caches as the other model left them
                begin = time.perf_counter()
                run()
                if round_ >= 2:
                    times.append((time.perf_counter() - begin) * 1e3)
        return [statistics.median(times) for times in samples]


class Engine(ABC):
    """A loaded engine: uint8 RGB pictures in, stylised uint8 RGB pictures of the same size out.

    Calls may come from several threads; they are run one after the other. Use it as a context manager, or `close` it.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._lock = threading.Lock()

    @property
    def spec(self) -> ShapeInfo:
        """The pictures this engine takes; None where any value is taken."""
        return self.manifest.shape

    def __call__(self, image: Picture, out: Picture | None = None) -> Picture:
        """Stylise `image`, uint8 RGB [H, W, 3] or [N, H, W, 3]; returns an array of the same shape.

        The result is written to `out` if given (same shape, C-contiguous), else to a new array. A C-contiguous
        `image` that is writable and does not overlap `out` is read in place; any other is copied. Raises BundleError if
        the picture does not fit the engine, DeviceError if the device fails.
        """
        if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
            raise BundleError(
                f"engine takes uint8 RGB arrays [H, W, 3] or [N, H, W, 3], not {image.dtype} {list(image.shape)}"
            )
        # Runtimes take no read-only memory, which is what np.asarray makes of Pillow's pictures.
        batch = np.require(image if image.ndim == 4 else image[None], requirements=["C", "W"])
        self._check_fits(batch.shape)
        if out is None:
            out = np.empty(image.shape, np.uint8)
        elif out.shape != image.shape or out.dtype != np.uint8 or not out.flags.carray:
            raise BundleError(f"`out` must be a writable C-contiguous uint8 array of shape {list(image.shape)}")
        elif np.may_share_memory(batch, out):
            batch = batch.copy()
        with self._lock:
            self._infer(batch, out.reshape(batch.shape))
        return out

    def _check_fits(self, shape: tuple[int, ...]) -> None:
        wanted = (self.spec.batch, self.spec.height, self.spec.width)
        if any(want not in (None, have) for want, have in zip(wanted, shape, strict=False)):
            text = "x".join("any" if want is None else str(want) for want in wanted)
            raise BundleError(
                f"{self.manifest.net.name} is built for pictures of (batch x height x width) {text}, "
                f"not {shape[0]}x{shape[1]}x{shape[2]}; build with --res {shape[1]}x{shape[2]} --batch {shape[0]}"
            )
        if min(shape[1:3]) < MIN_SIDE:
            raise BundleError(f"a picture of {shape[1]}x{shape[2]} is too small: each side needs {MIN_SIDE} pixels")

    @abstractmethod
    def _infer(self, images: Picture, out: Picture) -> None:
        """Run on C-contiguous `images` [N, H, W, 3] that fit, and write `out`, of the same shape."""

    def profile(self, images: Picture, runs: int) -> list[LayerTime]:
        """Time each layer on C-contiguous `images` [N, H, W, 3] that fit, over `runs` runs after warm-up; in the order
        in which they run. Raises DeviceError, also where a backend cannot tell."""
        raise DeviceError(f"the {self.manifest.backend.name} backend gives no per-layer times")

    def close(self) -> None:
        """Give the device's memory back. The engine cannot be called afterwards."""
        return

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
