"""What every backend and every engine has in common. A backend is one module with a `BACKEND` object of class
Backend."""

from __future__ import annotations

import functools
import statistics
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.bundle import Bundle, InputShape, Manifest
from nstopt.errors import BuildError, BundleError, DeviceError
from nstopt.graph.work import Work
from nstopt.pictures.size import MIN_SIDE
from nstopt.progress import Progress, Silent

if TYPE_CHECKING:
    from nstopt.graph.rule import Layer

Picture = NDArray[np.uint8]
Feed = Mapping[str, NDArray[Any]]
CompiledModel = Callable[[Feed], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Capabilities:
    """What a backend can be given. `free_zero_point`: the convolution operators whose INT8 inputs may have any zero
    point; that of others must be 0. `unsigned`: whether INT8 inputs may be uint8, too. `takes` is the suffix of the
    model file that `build` reads. `dynamic_sizes`: one engine for any size; `several_sizes`: one for a list of them;
    `workspace_limit`: it obeys `workspace_mib`."""

    precisions: frozenset[str]
    free_zero_point: frozenset[str]
    dynamic_sizes: bool
    unsigned: bool = True
    takes: str = ".onnx"
    several_sizes: bool = False
    workspace_limit: bool = False


@dataclass(frozen=True)
class BuildOptions:
    """What a build may be told besides the graph: a limit for the memory that kernels work in, whether to build what is
    not worth building on this device, whether to leave instance norms to the backend's own operator where others are
    the default, and who is told how far it is."""

    workspace_mib: int | None = None
    force: bool = False
    own_norms: bool = False
    progress: Progress = Silent()  # noqa: RUF009


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


NO_OPTIONS = BuildOptions()


class Backend(ABC):
    """Turns a model whose precision is in its graph into files of a bundle, and such files into an engine."""

    name: str
    capabilities: Capabilities

    @abstractmethod
    def build(
        self, model: Path, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        """Write the engine's files for `model` into `folder`. `precision` says what the graph holds; the backend
        compiles it and never chooses. Raises BuildError or DeviceError."""

    def require(self, precision: str, force: bool) -> None:
        """Raise DeviceError if this machine cannot run the backend, BuildError if it could only run `precision` far
        slower than FP32 and that is not forced. Called before the work that a build begins with."""
        return

    def default_form(self, layer: Layer, precision: str) -> str:
        """The form that a layer takes in a graph of `precision` when nothing was measured."""
        from nstopt.graph.forms import default_form  # running an engine must not load what rewrites graphs

        return default_form(layer, self.name)

    @abstractmethod
    def load(self, bundle: Bundle) -> Engine:
        """Open the engine of a checked bundle. Raises DeviceError."""

    def identity(self) -> str:
        """Backend, version and device: what a measured time is true for."""
        raise BuildError(f"the {self.name} backend has no forms of layers to choose from: build without --tune")

    def compile(self, model: bytes) -> CompiledModel:
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


class InferRequest:
    """A request on its way. `finish` waits for it and writes the result, or drops it if given None; it is called
    once."""

    def __init__(self, shape: tuple[int, ...], finish: Callable[[Picture | None], None]) -> None:
        self._shape = shape
        self._finish: Callable[[Picture | None], None] | None = finish

    def result(self, out: Picture | None = None) -> Picture:
        """Wait for the picture, of the shape that was submitted; written to `out` if given, as `Engine.__call__` does.
        Raises BundleError if it was taken before or `out` does not fit, DeviceError if the device fails."""
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


class Engine(ABC):
    """A loaded engine: uint8 RGB pictures in, stylized uint8 RGB pictures of the same size out.

    Calls may come from several threads; they are run one after the other. Use it as a context manager, or `close` it.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._lock: AbstractContextManager[object] = threading.Lock()

    @property
    def spec(self) -> InputShape:
        """The pictures this engine takes; None where any value is taken."""
        return self.manifest.shape

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
        """Begin to stylize `image`, as `__call__` takes it; `result()` of what is returned waits for it. Two or more
        may be on their way where the backend can; others stylize at once, here."""
        done = self(image)
        return InferRequest(image.shape, lambda out: None if out is None else np.copyto(out, done))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of timings should know of how this engine runs."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the notes that cost speed."""
        return ()

    def _checked(self, image: Picture) -> Picture:
        """The picture as a batch that fits, in memory that runtimes take: C-contiguous, and not read-only, as
        np.asarray makes Pillow's pictures. Raises BundleError."""
        if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
            raise BundleError(
                f"engine takes uint8 RGB arrays [H, W, 3] or [N, H, W, 3], not {image.dtype} {list(image.shape)}"
            )
        batch = np.require(image if image.ndim == 4 else image[None], requirements=["C", "W"])
        self._check_fits(batch.shape)
        return batch

    def _check_fits(self, shape: tuple[int, ...]) -> None:
        if self.spec.sizes and shape[1:3] not in self.spec.sizes:
            raise BundleError(
                f"{self.manifest.net.name} is built for pictures of {', '.join(map(str, self.spec.sizes))}, "
                f"not {shape[1]}x{shape[2]}; build with --res {shape[1]}x{shape[2]} too"
            )
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
