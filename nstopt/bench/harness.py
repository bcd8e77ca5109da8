"""Time cases: warm each up until it is steady (see statistics.py), then time a stated number of runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec

from nstopt.bench.cases import Case
from nstopt.bench.inputs import BenchInputs
from nstopt.bench.machine import (
    CpuTime,
    clock_warnings,
    cpu_time,
    device_of,
    interference_warnings,
    load_warnings,
    this_machine,
)
from nstopt.bench.process import TimedProcess
from nstopt.bench.stages import measure_stages
from nstopt.bench.statistics import (
    is_overdue,
    is_steady,
    outlier_warnings,
    pictures_per_second,
    spread_warnings,
    summarize,
)
from nstopt.errors import NstoptError
from nstopt.gpu.meter import GpuMeter, GpuSample, gpu_state, gpu_warnings, open_gpu
from nstopt.pictures.size import Size
from nstopt.runs.record import GPU_BACKENDS, Latencies, Machine, Record, Stages
from nstopt.runs.run_file import RunPlan

DEFAULT_RUNS = 30
ROUND_RUNS = 3


@dataclass(frozen=True)
class BenchSpec:
    """Timing of the cases. Without `image`, they run on noise.

    With `interleave`, cases of one net, size and batch take turns, A B A B, three timed runs each, so that noise of the
    machine hits all alike. All of them are then loaded at once. The first run of a turn is not timed: it finds the
    caches as the other case left them, and engines are not used that way.
    """

    runs: int = DEFAULT_RUNS
    image: Path | None = None
    interleave: bool = False


@dataclass(frozen=True)
class BenchProgress:
    """The current step, and the work done of all work, in timed runs times pixels.

    In these units the time left can be told from the time taken so far.
    """

    text: str
    done: int
    total: int


def run_plan(cases: Sequence[Case], spec: BenchSpec) -> RunPlan:
    """Return the plan that identifies a run of these cases."""
    name = spec.image.name if spec.image else "noise"
    return RunPlan(tuple(case.info.key for case in cases), spec.runs, name, spec.interleave)


def run(
    cases: Sequence[Case],
    spec: BenchSpec,
    on_progress: Callable[[BenchProgress], None] = lambda _: None,
    earlier: Sequence[Record] = (),
    on_left_out: Callable[[str], None] = lambda _: None,
) -> Iterator[Record]:
    """Time the cases and yield their records as they finish.

    Cases with a record in `earlier` are not timed again; cases that take turns are skipped only if all of them have
    one. A peer that fails before it is timed is left out; `on_left_out` gets its name and the reason. Another error or
    Ctrl-C loses the case in flight only, or with `spec.interleave` the cases that take turns with it. Raises the
    NstoptError of an engine that fails, DeviceError if its process dies, MediaError if the picture cannot be read.
    """
    known = {record.key: record for record in earlier}
    with open_gpu() as gpu:
        bench = _Bench(spec, sum(_work(case, spec.runs) for case in cases), on_progress, on_left_out, gpu)
        for group in _groups(cases, spec.interleave):
            if all(case.info.key in known for case in group):
                bench.skip(group)
                yield from (known[case.info.key] for case in group)
            else:
                yield from bench.measure(group)


def _groups(cases: Sequence[Case], interleave: bool) -> list[list[Case]]:
    """Group the cases that are timed together: each alone, or all neighbors of one net, size and batch."""
    if not interleave:
        return [[case] for case in cases]
    groups = groupby(cases, key=lambda case: (case.info.net_sha256, case.info.size, case.info.batch))
    return [list(group) for _, group in groups]


class _RunningCase:
    """A case, its process, and what was measured so far."""

    def __init__(self, case: Case, process: TimedProcess) -> None:
        self.case = case
        self.process = process
        self.warmup_ms: list[float] = []
        self.samples_ms: list[float] = []
        self.became_steady = False
        self.spans: list[tuple[CpuTime, CpuTime]] = []
        self.gpu: list[GpuSample] = []


class _Bench:
    """Everything that the cases of one run share. Reads the load of the machine before adding to it."""

    def __init__(
        self,
        spec: BenchSpec,
        total: int,
        on_progress: Callable[[BenchProgress], None],
        on_left_out: Callable[[str], None],
        gpu: GpuMeter | None,
    ) -> None:
        self._spec = spec
        self._inputs = BenchInputs(spec.image)
        self._machine: Machine = this_machine()
        self._warnings = load_warnings()
        self._on_progress, self._on_left_out = on_progress, on_left_out
        self._gpu = gpu
        self._stages: dict[Size, Stages] = {}
        self._done = 0
        self._total = total

    def skip(self, group: Sequence[Case]) -> None:
        """Count these cases as done."""
        self._done += sum(_work(case, self._spec.runs) for case in group)

    def measure(self, group: Sequence[Case]) -> list[Record]:
        """Load all cases, warm up all, then time them in turns. Their processes end with this call, failed or not."""
        size = group[0].info.size
        if size not in self._stages:
            self._stages[size] = measure_stages(self._spec.image, size)
        with ExitStack() as stack:
            running = [one for case in group if (one := self._loaded(case, stack))]
            running = [one for one in running if self._is_warm(one)]
            for runs in _rounds(self._spec.runs):
                for one in running:
                    self._take_turn(one, runs, rewarm=len(running) > 1)
            return [self._record(one, in_turns=len(running) > 1) for one in running]

    def _loaded(self, case: Case, stack: ExitStack) -> _RunningCase | None:
        """Return the case in its process, which ends with `stack`; None for a peer that fails."""
        with self._leaving_out(case):
            return _RunningCase(case, stack.enter_context(self._start(case)))
        return None

    def _is_warm(self, one: _RunningCase) -> bool:
        """Warm up a case; return False for a peer that fails."""
        with self._leaving_out(one.case):
            self._warm_up(one)
            return True
        return False

    @contextmanager
    def _leaving_out(self, case: Case) -> Iterator[None]:
        """Report the error of a peer instead of raising it."""
        try:
            yield
        except NstoptError as error:
            if not case.info.is_peer:
                raise
            self._on_left_out(f"{case}: {error}")
            self._done += _work(case, self._spec.runs)
            self._report(case, "left out")

    def _start(self, case: Case) -> TimedProcess:
        self._report(case, "loading")
        return TimedProcess(case.subject, self._inputs.pictures(case.info.size, case.info.batch), str(case))

    def _warm_up(self, one: _RunningCase) -> None:
        self._report(one.case, "warming up")
        while not one.became_steady and not is_overdue(one.warmup_ms):
            one.warmup_ms += one.process.run(1)
            one.became_steady = is_steady(one.warmup_ms)

    def _take_turn(self, one: _RunningCase, runs: int, rewarm: bool) -> None:
        self._report(one.case, "timing")
        if rewarm:
            one.warmup_ms += one.process.run(1)
        ours = (os.getpid(), one.process.pid)
        start = cpu_time(ours)
        one.samples_ms += one.process.run(runs)
        one.spans.append((start, cpu_time(ours)))
        if self._gpu is not None and one.case.info.backend in GPU_BACKENDS:
            one.gpu.append(self._gpu.sample())
        self._done += _work(one.case, runs)
        self._report(one.case, "timing")

    def _report(self, case: Case, doing: str) -> None:
        self._on_progress(BenchProgress(f"{case}: {doing}", self._done, self._total))

    def _record(self, one: _RunningCase, in_turns: bool) -> Record:
        info, latency = one.case.info, summarize(one.samples_ms)
        return Record(
            **msgspec.structs.asdict(info),
            input=self._inputs.name,
            latency_ms=latency,
            round_runs=ROUND_RUNS if in_turns else None,
            warmup_runs=len(one.warmup_ms),
            fps=pictures_per_second(latency, info.batch),
            peak_memory_mib=one.process.peak_memory_mib(),
            device=device_of(info.backend, self._machine),
            machine=self._machine,
            stages=self._stages_of(one),
            gpu=gpu_state(one.gpu) if one.gpu else None,
            warnings=self._warnings_about(one, latency),
        )

    def _stages_of(self, one: _RunningCase) -> Stages:
        stages, copies = self._stages[one.case.info.size], one.process.copies_ms()
        if copies is None:
            return stages
        upload_ms, download_ms = (each / one.case.info.batch for each in copies)
        return msgspec.structs.replace(stages, upload_ms=upload_ms, download_ms=download_ms)

    def _warnings_about(self, one: _RunningCase, latency: Latencies) -> tuple[str, ...]:
        unsteady = () if one.became_steady else ("did not become steady while warming up",)
        return (
            *self._warnings,
            *unsteady,
            *one.case.warnings,
            *one.process.warnings(),
            *interference_warnings(one.spans),
            *clock_warnings(one.spans),
            *gpu_warnings(one.gpu),
            *spread_warnings(latency),
            *outlier_warnings(one.samples_ms),
        )


def _work(case: Case, runs: int) -> int:
    return runs * case.info.batch * case.info.height * case.info.width


def _rounds(runs: int) -> list[int]:
    """Split `runs` into rounds of ROUND_RUNS; the last may be shorter."""
    full, rest = divmod(runs, ROUND_RUNS)
    return [ROUND_RUNS] * full + [rest] * bool(rest)
