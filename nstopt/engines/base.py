"""Base classes of backends and engines. A backend is one module with a `BACKEND` object of class Backend."""

from __future__ import annotations

import functools
import statistics
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.errors import BuildError, BundleError, DeviceError
from nstopt.gpu.facts import Architecture
from nstopt.graph.work import Work
from nstopt.manifest import InputShape, Manifest, TunedInfo
from nstopt.pictures.size import MIN_SIDE, Size
from nstopt.progress import Progress, Silent

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture

INPUT, OUTPUT = "image", "stylized"
Feed = Mapping[str, NDArray[Any]]
CompiledModel = Callable[[Feed], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Capabilities:
    """Properties of a backend that calibration, rewriting and the command line must obey.

    `precisions`: those that `build` takes. `files`: the files that every bundle of this backend has. `free_zero_point`:
    the convolution operators whose INT8 inputs may have any zero point; for others it must be 0. `unsigned`: INT8
    inputs may be uint8 too. `forms`: the form that layers of a kind take where nothing was measured (graph/forms.py
    lists kinds and forms; a kind that is not named stays plain). `dynamic_sizes`: one engine can take any size;
    `several_sizes`: it can take a list of them. `workspace_limit`: `workspace_mib` is obeyed. `build_log`: a build
    writes build.log. `tf32`: TF32 can be asked for. `compiles_onnx`: False if the backend runs the exported TorchScript
    file as it was traced. `graph`: the file of a bundle that holds the lowered graph, which `compile` takes; None if
    there is none. `exact_transposes`: False if a Transpose before an output may quantize it. `judge`: the backend on
    which an INT8 search runs its candidates, where compiling takes long here; None: this one."""

    precisions: frozenset[str]
    files: tuple[str, ...]
    free_zero_point: frozenset[str] = frozenset()
    unsigned: bool = True
    forms: Mapping[str, str] = field(default_factory=dict)
    dynamic_sizes: bool = True
    several_sizes: bool = False
    workspace_limit: bool = False
    build_log: bool = False
    tf32: bool = False
    compiles_onnx: bool = True
    graph: str | None = None
    exact_transposes: bool = True
    judge: str | None = None


class Source(NamedTuple):
    """The files that a backend may build from: the lowered graph, and the TorchScript file of the same export if there
    is one."""

    onnx: Path
    torchscript: Path | None = None


@dataclass(frozen=True)
class BuildOptions:
    """Options of a build besides the graph: the limit in MiB of the memory that kernels work in (None: no limit), the
    number of convolutions in a BF16 engine that pass FP32 on to their norms, the receiver of progress, whether TF32 may
    stand for FP32, whether the backend measures forms of its own, whether the build log has every message, and the
    folder in which a build that fails leaves its log and its graph."""

    workspace_mib: int | None = None
    fp32_sums: int = 0
    progress: Progress = Silent()  # noqa: RUF009
    tf32: bool = False
    tune: bool = False
    verbose: bool = False
    evidence: Path | None = None


class Built(NamedTuple):
    """A backend's report on a build: the precision that the device multiplies in, the device, library versions, and
    each convolution that is not computed in the types of the graph, as far as the backend tells, and what the backend
    has chosen by measuring."""

    computes: str
    device: str
    versions: dict[str, str]
    differences: tuple[str, ...] = ()
    tuning: tuple[TunedInfo, ...] = ()


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


NO_OPTIONS = BuildOptions()


class Backend(ABC):
    """Compiles a graph whose precision is in it into the files of a bundle, and opens such files as an engine."""

    name: str
    capabilities: Capabilities

    @abstractmethod
    def build(
        self, source: Source, shape: InputShape, precision: str, folder: Path, options: BuildOptions = NO_OPTIONS
    ) -> Built:
        """Write the engine's files into `folder`. `precision` states what the graph holds: the backend compiles the
        graph as it is. Raises BuildError or DeviceError."""

    @abstractmethod
    def load(self, files: Mapping[str, bytes], shape: InputShape, name: str) -> Engine:
        """Open the engine that these files hold, by their names in the bundle. Their hashes have been checked, or they
        were built just now. Messages call it `name`. Raises DeviceError, and BundleError if the engine does not take
        and give pictures of `shape`."""

    def load_streams(self, files: Mapping[str, bytes], shape: InputShape, name: str, streams: int) -> Engine:
        """Open the engine as `load` does, to work on so many pictures side by side. Raises DeviceError, also if the
        backend has no streams."""
        if streams != 1:
            raise DeviceError(f"the {self.name} backend works on one picture at a time: leave --streams out")
        return self.load(files, shape, name)

    def video_streams(self) -> int:
        """The number of streams that suits a video on this machine."""
        return 1

    @abstractmethod
    def identity(self) -> str:
        """Backend, version and device: what a measured time holds for. Raises DeviceError if the device is missing."""

    def runs_here(self) -> bool:
        """Return True if the backend's device is in this machine."""
        try:
            self.identity()
        except DeviceError:
            return False
        return True

    def require(self, precision: str, force: bool) -> None:
        """Check before a build that this machine can do it. Raises DeviceError if the machine cannot run the backend or
        lacks the arithmetic of `precision`, BuildError if it runs `precision` far slower than FP32 and `force` is not
        set."""
        return

    def computes(self, precision: str) -> str:
        """Return the precision that this device computes in where the graph holds `precision`: most CPUs run FP16 in
        FP32."""
        return precision

    def is_native(self, precision: str) -> bool:
        """Return True if this machine runs `precision` as it is, not in another one or far slower than FP32."""
        try:
            self.require(precision, force=False)
        except (BuildError, DeviceError):
            return False
        return precision in self.capabilities.precisions and self.computes(precision) == precision

    def require_built_for_here(self, manifest: Manifest) -> None:
        """Check before loading that an engine runs on this machine. Raises DeviceError if it was built for another."""
        return

    def forms(self, precision: str, generation: Architecture | None = None) -> Mapping[str, str]:
        """The default form of each kind of layer in a graph of `precision`. `generation` is that of the GPU which the
        engine is for; None stands for this machine's."""
        return self.capabilities.forms

    def avoided(self) -> frozenset[str]:
        """Names of the forms that failed on this machine's device, and that builds avoid."""
        return frozenset()

    def compile(self, model: bytes, precision: str, reuse: bool = False) -> CompiledModel:
        """Compile a serialized ONNX model that holds `precision` into a function of its inputs by name, for searches
        over many models, and for parts of one. With `reuse`, results may be valid only until the next call. Raises
        BuildError."""
        raise BuildError(f"the {self.name} backend takes no ONNX model: choose another --backend")

    def measure(self, models: Sequence[bytes], precision: str, feed: Feed, rounds: int = 10) -> list[float]:
        """Milliseconds of a run of each model, all of one precision, as `take_turns` measures them."""
        return take_turns([functools.partial(self.compile(model, precision), feed) for model in models], rounds)


def take_turns(runs: Sequence[Callable[[], object]], rounds: int = 10) -> list[float]:
    """Return the milliseconds of each function: the first quartile, which other work on the machine hardly changes.
    They take turns, so that what changes affects all."""
    samples: list[list[float]] = [[] for _ in runs]
    for round_ in range(rounds + 2):
        for run, times in zip(runs, samples, strict=True):
            run()  # not timed: the caches hold another one's data
            begin = time.perf_counter()
            run()
            if round_ >= 2:
                times.append((time.perf_counter() - begin) * 1e3)
    return [float(np.percentile(times, 25)) for times in samples]


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
