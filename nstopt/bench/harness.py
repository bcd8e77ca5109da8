"""Cases → records: each is warmed up until it is steady (see statistics.py), then timed a stated number of times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
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
from nstopt.gpu.meter import GpuMeter, GpuSample, gpu_warnings, open_gpu
from nstopt.gpu.meter import summarize as summarize_gpu
from nstopt.pictures.size import Size
from nstopt.runs.record import GPU_BACKENDS, Machine, Record, Stages
from nstopt.runs.run_file import RunPlan

DEFAULT_RUNS = 30
ROUND_RUNS = 3


@dataclass(frozen=True)
class BenchSpec:
    """How to time. Without `image`, on noise.

    `interleave`: cases of one net, size and batch take turns, A B A B, three timed runs each, so that noise of the
    machine hits all alike. All of them are then loaded at once. The first run of a turn is not timed: it finds the
    caches as the other left them, which is not how an engine is used.
    """

    runs: int = DEFAULT_RUNS
    image: Path | None = None
    interleave: bool = False


@dataclass(frozen=True)
class BenchProgress:
    """What is being done, and how much of all work is done, in timed runs times pixels: so that what is left can be
    told from how long the rest took."""

    text: str
    done: int
    total: int


def run_plan(cases: Sequence[Case], spec: BenchSpec) -> RunPlan:
    """What a run of these cases sets out to measure."""
    name = spec.image.name if spec.image else "noise"
    return RunPlan(tuple(case.key for case in cases), spec.runs, name, spec.interleave)


def run(
    cases: Sequence[Case],
    spec: BenchSpec,
    on_progress: Callable[[BenchProgress], None] = lambda _: None,
    earlier: Sequence[Record] = (),
) -> Iterator[Record]:
    """Time the cases and yield their records as they finish. Cases that `earlier` has a record of are not timed again;
    cases that take turns are, unless it has all of them.

    What an error or Ctrl-C loses is the case in flight; with `spec.interleave`, the cases that take turns with it.
    Raises the NstoptError of a case that fails, DeviceError if its process dies, MediaError if the image cannot be
    read.
    """
    known = {record.key: record for record in earlier}
    with open_gpu() as gpu:
        bench = _Bench(spec, sum(_work(case, spec.runs) for case in cases), on_progress, gpu)
        for group in _groups(cases, spec.interleave):
            if all(case.key in known for case in group):
                bench.skip(group)
                yield from (known[case.key] for case in group)
            else:
                yield from bench.measure(group)


def _groups(cases: Sequence[Case], interleave: bool) -> list[list[Case]]:
    """Cases that are timed together: each alone, or all neighbors of one net, size and batch."""
    if not interleave:
        return [[case] for case in cases]
    return [list(group) for _, group in groupby(cases, key=lambda case: (case.net_sha256, case.size, case.batch))]


class _Running:
    """A case with its process and what was measured so far."""

    def __init__(self, case: Case, process: TimedProcess) -> None:
        self.case = case
        self.process = process
        self.warmup_ms: list[float] = []
        self.samples_ms: list[float] = []
        self.became_steady = False
        self.spans: list[tuple[CpuTime, CpuTime]] = []
        self.gpu: list[GpuSample] = []


class _Bench:
    """What the cases of one run have in common. The machine's load is looked at before it adds to it."""

    def __init__(
        self, spec: BenchSpec, total: int, on_progress: Callable[[BenchProgress], None], gpu: GpuMeter | None
    ) -> None:
        self._spec = spec
        self._inputs = BenchInputs(spec.image)
        self._machine: Machine = this_machine()
        self._warnings = load_warnings()
        self._on_progress = on_progress
        self._gpu = gpu
        self._stages: dict[Size, Stages] = {}
        self._done = 0
        self._total = total

    def skip(self, group: Sequence[Case]) -> None:
        """Count these cases as done."""
        self._done += sum(_work(case, self._spec.runs) for case in group)

    def measure(self, group: Sequence[Case]) -> list[Record]:
        """Load all, warm up all, then time them in turns. The processes end with the group, however it ends."""
        size = group[0].size
        if size not in self._stages:
            self._stages[size] = measure_stages(self._spec.image, size)
        with ExitStack() as stack:
            running = [_Running(case, stack.enter_context(self._start(case))) for case in group]
            for one in running:
                self._warm_up(one)
            for runs in _rounds(self._spec.runs):
                for one in running:
                    self._take_turn(one, runs, rewarm=len(running) > 1)
            return [self._record(one, in_turns=len(running) > 1) for one in running]

    def _start(self, case: Case) -> TimedProcess:
        self._report(case, "loading")
        pictures = self._inputs.pictures(case.size, case.batch)
        return TimedProcess(case.subject, pictures, f"{case.label} at {case.size}")

    def _warm_up(self, one: _Running) -> None:
        self._report(one.case, "warming up")
        while not one.became_steady and not is_overdue(one.warmup_ms):
            one.warmup_ms += one.process.run(1)
            one.became_steady = is_steady(one.warmup_ms)

    def _take_turn(self, one: _Running, runs: int, rewarm: bool) -> None:
        self._report(one.case, "timing")
        if rewarm:
            one.warmup_ms += one.process.run(1)
        ours = (os.getpid(), one.process.pid)
        start = cpu_time(ours)
        one.samples_ms += one.process.run(runs)
        one.spans.append((start, cpu_time(ours)))
        if self._gpu is not None and one.case.backend in GPU_BACKENDS:
            one.gpu.append(self._gpu.sample())
        self._done += _work(one.case, runs)
        self._report(one.case, "timing")

    def _report(self, case: Case, doing: str) -> None:
        text = f"{case.label} at {case.size}: {doing}"
        self._on_progress(BenchProgress(text, self._done, self._total))

    def _record(self, one: _Running, in_turns: bool) -> Record:
        case, latency = one.case, summarize(one.samples_ms)
        return Record(
            label=case.label,
            is_peer=case.is_peer,
            bundle=str(case.bundle) if case.bundle else None,
            sha256=case.sha256,
            net=case.net,
            net_sha256=case.net_sha256,
            family=case.family,
            backend=case.backend,
            precision=case.precision,
            computes=case.computes,
            height=case.size.height,
            width=case.size.width,
            batch=case.batch,
            input=self._inputs.name,
            latency_ms=latency,
            round_runs=ROUND_RUNS if in_turns else None,
            warmup_runs=len(one.warmup_ms),
            fps=pictures_per_second(latency, case.batch),
            peak_memory_mib=one.process.peak_memory_mib(),
            psnr_db=case.psnr_db,
            ssim=case.ssim,
            device=device_of(case.backend, self._machine),
            machine=self._machine,
            stages=self._stages_of(one),
            gpu=summarize_gpu(one.gpu) if one.gpu else None,
            warnings=self._warnings_about(one),
        )

    def _stages_of(self, one: _Running) -> Stages:
        stages, copies = self._stages[one.case.size], one.process.copies_ms()
        if copies is None:
            return stages
        upload_ms, download_ms = (each / one.case.batch for each in copies)
        return msgspec.structs.replace(stages, upload_ms=upload_ms, download_ms=download_ms)

    def _warnings_about(self, one: _Running) -> tuple[str, ...]:
        unsteady = () if one.became_steady else ("did not become steady while warming up",)
        return (
            *self._warnings,
            *unsteady,
            *one.process.warnings(),
            *interference_warnings(one.spans),
            *clock_warnings(one.spans),
            *gpu_warnings(one.gpu),
            *spread_warnings(summarize(one.samples_ms)),
            *outlier_warnings(one.samples_ms),
        )


def _work(case: Case, runs: int) -> int:
    return runs * case.batch * case.size.height * case.size.width


def _rounds(runs: int) -> list[int]:
    """`runs` cut into rounds of ROUND_RUNS; the last may be shorter."""
    full, rest = divmod(runs, ROUND_RUNS)
    return [ROUND_RUNS] * full + [rest] * bool(rest)
