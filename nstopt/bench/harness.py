"""Cases → records: each is warmed up until it is steady (see statistics.py), then timed a stated number of times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from nstopt.bench.cases import Case
from nstopt.bench.inputs import Inputs
from nstopt.bench.machine import CpuTime, cpu_time, device_of, interference_warnings, load_warnings, this_machine
from nstopt.bench.process import TimedProcess
from nstopt.bench.record import Record, check_writable, write_run
from nstopt.bench.statistics import is_overdue, is_steady, pictures_per_second, spread_warnings, summarise

DEFAULT_RUNS = 30
ROUND_RUNS = 5


@dataclass(frozen=True)
class BenchSpec:
    """How to time. Without `image`, on noise.

    `interleave`: cases of one size and batch take turns, A B A B, five timed runs each, so that noise of the machine
    hits all alike. All of them are then loaded at once. The first run of a turn is not timed: it finds the caches as
    the other left them, which is not how an engine is used.
    """

    runs: int = DEFAULT_RUNS
    image: Path | None = None
    interleave: bool = False


@dataclass(frozen=True)
class Progress:
    """What is being done, and how many of all timed runs are done."""

    text: str
    done_runs: int
    total_runs: int


def run(
    cases: Sequence[Case],
    spec: BenchSpec,
    json_path: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Record]:
    """Time the cases and yield their records as they finish, after `json_path` was rewritten with all so far.

    So what an error or Ctrl-C loses is the case in flight; with `spec.interleave`, the cases of the size in flight.
    Raises the NstoptError of a case that fails, DeviceError if its process dies, MediaError if the image cannot be
    read, NstoptError if `json_path` cannot be written.
    """
    if json_path is not None:
        check_writable(json_path)
    bench = _Bench(spec, len(cases) * spec.runs, on_progress)
    records: list[Record] = []
    for group in _groups(cases, spec.interleave):
        finished = bench.measure(group)
        records += finished
        if json_path is not None:
            write_run(json_path, records)
        yield from finished


def _groups(cases: Sequence[Case], interleave: bool) -> list[list[Case]]:
    """Cases that are timed together: each alone, or all neighbours of one size and batch."""
    if not interleave:
        return [[case] for case in cases]
    return [list(group) for _, group in groupby(cases, key=lambda case: (case.size, case.batch))]


class _Running:
    """A case with its process and what was measured so far."""

    def __init__(self, case: Case, process: TimedProcess) -> None:
        self.case = case
        self.process = process
        self.warmup_ms: list[float] = []
        self.samples_ms: list[float] = []
        self.became_steady = False
        self.spans: list[tuple[CpuTime, CpuTime]] = []


class _Bench:
    """What the cases of one run have in common. The machine's load is looked at before it adds to it."""

    def __init__(self, spec: BenchSpec, total_runs: int, on_progress: Callable[[Progress], None]) -> None:
        self._spec = spec
        self._inputs = Inputs(spec.image)
        self._machine = this_machine()
        self._warnings = load_warnings()
        self._on_progress = on_progress
        self._done_runs = 0
        self._total_runs = total_runs

    def measure(self, group: Sequence[Case]) -> list[Record]:
        """Load all, warm up all, then time them in turns. The processes end with the group, however it ends."""
        with ExitStack() as stack:
            running = [_Running(case, stack.enter_context(self._start(case))) for case in group]
            for one in running:
                self._warm_up(one)
            for runs in _rounds(self._spec.runs):
                for one in running:
                    self._take_turn(one, runs, rewarm=len(running) > 1)
            return [self._record(one) for one in running]

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
        self._done_runs += runs
        self._report(one.case, "timing")

    def _report(self, case: Case, doing: str) -> None:
        text = f"{case.label} at {case.size}: {doing}"
        self._on_progress(Progress(text, self._done_runs, self._total_runs))

    def _record(self, one: _Running) -> Record:
        case, latency = one.case, summarise(one.samples_ms)
        unsteady = () if one.became_steady else ("did not become steady while warming up",)
        return Record(
            label=case.label,
            is_peer=case.is_peer,
            net=case.net,
            family=case.family,
            backend=case.backend,
            precision=case.precision,
            computes=case.computes,
            height=case.size.height,
            width=case.size.width,
            batch=case.batch,
            input=self._inputs.name,
            latency_ms=latency,
            warmup_runs=len(one.warmup_ms),
            fps=pictures_per_second(latency, case.batch),
            peak_memory_mib=one.process.peak_memory_mib(),
            psnr_db=case.psnr_db,
            ssim=case.ssim,
            device=device_of(case.backend, self._machine),
            machine=self._machine,
            warnings=(*self._warnings, *unsteady, *interference_warnings(one.spans), *spread_warnings(latency)),
        )


def _rounds(runs: int) -> list[int]:
    """`runs` cut into rounds of ROUND_RUNS; the last may be shorter."""
    full, rest = divmod(runs, ROUND_RUNS)
    return [ROUND_RUNS] * full + [rest] * bool(rest)
