"""Base class of backends. A backend is one module with a `BACKEND` object of class Backend."""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nstopt.engines.engine import Engine
from nstopt.errors import BuildError, DeviceError
from nstopt.gpu.facts import Architecture
from nstopt.manifest import InputShape, Manifest, TunedInfo
from nstopt.progress import Progress, Silent

Feed = Mapping[str, NDArray[Any]]
CompiledModel = Callable[[Feed], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Capabilities:
    """Properties of a backend that calibration, rewriting and the command line must obey.

    `precisions`: those that `build` takes. `files`: the files that every bundle of this backend has. `free_zero_point`:
    the convolution operators whose INT8 inputs may have any zero point; for others it must be 0. `unsigned`: INT8
    inputs may be uint8 too. `int8_norms`: instance norms read int8 faster than floats. `forms`: the form that layers of
    a kind take where nothing was measured (graph/forms.py lists kinds and forms; a kind that is not named stays plain).
    `dynamic_sizes`: one engine can take any size; `several_sizes`: it can take a list of them. `workspace_limit`:
    `workspace_mib` is obeyed. `build_log`: a build writes build.log. `tf32`: TF32 can be asked for. `compiles_onnx`:
    False if the backend runs the exported TorchScript file as it was traced. `graph`: the file of a bundle that holds
    the lowered graph, which `compile` takes; None if there is none. `exact_transposes`: False if a Transpose before an
    output may quantize it. `judge`: the backend on which an INT8 search runs its candidates, where compiling takes long
    here; None: this one. `first_run`: False if a bundle from elsewhere is loaded without a first run in a process of
    its own."""

    precisions: frozenset[str]
    files: tuple[str, ...]
    free_zero_point: frozenset[str] = frozenset()
    unsigned: bool = True
    int8_norms: bool = False
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
    first_run: bool = True


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
