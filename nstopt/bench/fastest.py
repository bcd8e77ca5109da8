"""Find the fastest engine of a net on this machine: every backend, in every precision that it computes in here.

The order keeps the time near that of one INT8 build. INT8 has the same speed with any ranges, so it is timed with
placeholders first, and calibrated only if it can win.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from nstopt import engines
from nstopt.bench.process import TimedProcess
from nstopt.bench.subject import BundleSubject
from nstopt.bundle import Bundle, adopt, open_bundle
from nstopt.calib.picture_sets import from_path
from nstopt.engines.backend import Source
from nstopt.errors import BuildError, CalibrationError, DeviceError
from nstopt.export.metadata import ExportInfo
from nstopt.files import make_folder
from nstopt.manifest import QualityInfo
from nstopt.pictures.noise import noise
from nstopt.pipeline.build import build_engine, read_export
from nstopt.pipeline.fingerprint import is_engine_up_to_date
from nstopt.pipeline.lower import lower
from nstopt.pipeline.raw import build_raw
from nstopt.pipeline.spec import BuildSpec, require_calibration, require_exported_for
from nstopt.precisions import PRECISIONS, is_quantized
from nstopt.progress import Progress, Silent

ROUNDS, RUNS = 5, 2
# Engines that take so many times as long as the fastest one are timed in one round only.
SLOW = 2.0
# INT8 is calibrated if it takes at most this share of the time of the fastest other engine. Levels beyond INT8, which
# the search may add, only make it slower.
WORTH_CALIBRATING = 0.97
# Backends that run the export as it was traced: references to compare with.
REFERENCES = ("torchscript",)


class Contender(NamedTuple):
    """A backend and a precision. `bundle` is its engine; `latency_ms` the first quartile of runs in turns with the
    others, which other work on the machine hardly changes, and `peak_mib` the peak memory of its process, None if it
    was not timed; `quality` its distance from FP32, None if it was not measured. `reason` says why it is not the
    fastest, and is empty for the one that is."""

    backend: str
    precision: str
    bundle: Bundle | None = None
    latency_ms: float | None = None
    peak_mib: float | None = None
    quality: QualityInfo | None = None
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"

    @property
    def is_ready(self) -> bool:
        """True if its engine is as close to FP32 as was asked for."""
        return self.quality is not None and not self.reason


class Fastest(NamedTuple):
    """The fastest engine, and all contenders, the fastest first, those that were not timed last. The bundles of the
    others are gone unless all were to be kept."""

    bundle: Bundle
    contenders: tuple[Contender, ...]


def build_fastest(spec: BuildSpec, progress: Progress | None = None, keep_all: bool = False) -> Fastest:
    """Build the fastest engine that meets `spec.min_psnr_db`. The backend and the precision of `spec` have no effect;
    it names one size and one batch. With `keep_all`, the other engines that meet it are kept too.

    Raises BuildError if no engine meets the quality, MediaError or CalibrationError if there are no pictures at
    `spec.calib`, and what `build_engine` raises for options that no engine can
    have."""
    progress = progress or Silent()
    raw, info = read_export(spec.model)
    require_exported_for(spec, raw)
    if spec.sizes.only is None or spec.batch is None:
        raise BuildError("the fastest engine is that for one size and batch: name them with --res and --batch")
    if spec.calib:
        from_path(spec.calib)  # a path without pictures is found out before the work
    make_folder(spec.folder)
    with tempfile.TemporaryDirectory(prefix=".fastest-", dir=spec.folder) as temporary:
        race = _Race(spec, raw, info, Path(temporary), progress)
        runnable, left_out = _contenders(spec, info)
        if not runnable:
            raise BuildError(f"{spec.model}: no backend runs here: {'; '.join(one.reason for one in left_out)}")
        compiled = [race.with_placeholders(one) for one in runnable]
        timed = race.timed([one for one in compiled if not is_quantized(one.precision)])
        exact = [race.built(one) for one in _without_dominated(timed)]
        # A finished BF16 engine is slower than it was when first timed: some of its sums are FP32 now.
        against = [one for one in compiled if is_quantized(one.precision)]
        again = race.timed([*(one for one in exact if one.is_ready), *against]) if against else []
        exact = _updated(exact, again)
        quantized = race.calibrated([one for one in again if is_quantized(one.precision)], exact)
        final = _timed_once_more(race, exact, quantized)
        ready = [one for one in final if one.is_ready]
        if not ready:
            closest = "; ".join(f"{one}: {one.reason}" for one in final if one.reason)
            raise BuildError(f"{spec.model}: no engine reaches {spec.min_psnr_db:g} dB: {closest}")
        best = min(ready, key=_latency)
        moved = {str(one): race.moved(one) for one in ready if one is best or keep_all}
    final = [
        one._replace(bundle=moved.get(str(one)), reason="" if one is best else one.reason or f"slower than {best}")
        for one in sorted(final, key=_latency)
    ]
    return Fastest(moved[str(best)], (*final, *left_out))


def reasons(contenders: Sequence[Contender]) -> list[str]:
    """Return why contenders are not the fastest, one line for each reason."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in contenders:
        if one.reason:
            by_reason.setdefault((one.backend, one.reason), []).append(one.precision)
    return [f"{backend} {', '.join(those)}: {reason}" for (backend, reason), those in by_reason.items()]


def _contenders(spec: BuildSpec, info: ExportInfo) -> tuple[list[Contender], list[Contender]]:
    """Return the contenders that this machine runs as they are, and the others with the reason."""
    runnable: list[Contender] = []
    left_out: list[Contender] = []
    for name in engines.BACKENDS:
        for one, reason in _of_backend(name, spec, info):
            (left_out if reason else runnable).append(one._replace(reason=reason))
    return runnable, left_out


def _of_backend(name: str, spec: BuildSpec, info: ExportInfo) -> Iterator[tuple[Contender, str]]:
    if name in REFERENCES:
        yield Contender(name, "fp32"), "runs the export as it was traced: a reference to compare with"
        return
    try:
        backend = engines.backend(name)
    except DeviceError as error:
        yield Contender(name, "any"), str(error)
        return
    for precision in PRECISIONS:
        if precision not in backend.capabilities.precisions:
            continue
        one = Contender(name, precision)
        try:
            backend.require(precision, force=False)
            require_calibration(spec.model, [precision], spec.calib, info)
        except (BuildError, DeviceError, CalibrationError) as error:
            yield one, str(error)
            continue
        computes = backend.computes(precision)
        yield one, "" if computes == precision else f"this device computes it in {computes}"


class _Race:
    """What all contenders share: the build's specification, the export, a folder for their bundles, and progress."""

    def __init__(
        self, spec: BuildSpec, raw: onnx.ModelProto, info: ExportInfo, folder: Path, progress: Progress
    ) -> None:
        self._spec, self._raw, self._info, self._folder, self._progress = spec, raw, info, folder, progress

    def _spec_of(self, one: Contender) -> BuildSpec:
        return replace(self._spec, backend=one.backend, precision=one.precision)

    def moved(self, one: Contender) -> Bundle:
        """Give the bundle of a contender its final name."""
        assert one.bundle
        path = self._spec_of(one).bundle_path()
        return one.bundle if one.bundle.path == path else adopt(one.bundle, path)

    def with_placeholders(self, one: Contender) -> Contender:
        """Build an engine whose INT8 ranges are placeholders, to be timed."""
        self._progress.step(f"compiling {one}")
        backend = engines.backend(one.backend)
        lowered = lower(self._raw, self._spec.shape, backend, one.precision)
        source = Source(self._folder / "model.onnx")
        onnx.save(lowered.model, source.onnx)
        path = self._folder / f"{one.backend}-{one.precision}-timed.nst"
        return one._replace(bundle=build_raw(source, backend, self._spec.shape, one.precision, path))

    def timed(self, contenders: Sequence[Contender]) -> list[Contender]:
        """Time engines in turns, each in a process of its own. Returns them with the fastest first."""
        self._progress.step(f"timing {', '.join(map(str, contenders))}")
        assert self._spec.sizes.only
        pictures = noise(self._spec.sizes.only, self._spec.judged_batch)
        samples_ms: list[list[float]] = [[] for _ in contenders]
        with ExitStack() as stack:
            processes = [
                stack.enter_context(TimedProcess(BundleSubject(one.bundle.path), pictures, str(one)))
                for one in contenders
                if one.bundle
            ]
            for process, samples in zip(processes, samples_ms, strict=True):
                process.run(2)  # not counted
                samples += process.run(RUNS)
            fastest_ms = min(map(min, samples_ms), default=0.0)
            for _ in range(ROUNDS - 1):
                for process, samples in zip(processes, samples_ms, strict=True):
                    if min(samples) < SLOW * fastest_ms:
                        process.run(1)  # not counted: the caches hold another one's data
                        samples += process.run(RUNS)
            peaks = [process.peak_memory_mib() for process in processes]
        found = [
            one._replace(latency_ms=float(np.percentile(samples, 25)), peak_mib=peak)
            for one, samples, peak in zip(contenders, samples_ms, peaks, strict=True)
        ]
        return sorted(found, key=_latency)

    def built(self, one: Contender) -> Contender:
        """Build the engine of a contender and measure its quality, or say why that fails. An engine that is up to date
        is taken as it is."""
        if one.reason:
            return one
        spec = self._spec_of(one)
        try:
            if is_engine_up_to_date(spec, self._info):
                bundle = open_bundle(spec.bundle_path())
            else:
                draft = self._folder / f"{one.backend}-{one.precision}.nst"
                bundle = build_engine(replace(spec, output=draft), self._progress, find_rival=False)
        except BuildError as error:
            return one._replace(reason=str(error).removeprefix(f"{spec.model}: "))
        return one._replace(bundle=bundle, quality=bundle.manifest.quality)

    def calibrated(self, quantized: Sequence[Contender], exact: Sequence[Contender]) -> list[Contender]:
        """Calibrate the fastest quantized contender if it can beat the fastest of the others that is good enough."""
        best = min((one for one in exact if one.is_ready), key=_latency, default=None)
        found: list[Contender] = []
        for one in quantized:
            if best is not None and _latency(one) > WORTH_CALIBRATING * _latency(best):
                reason = f"not calibrated, since it is not faster than {best} even before its search"
                found.append(one._replace(reason=reason))
            elif found and found[0].is_ready:
                found.append(one._replace(reason=f"not calibrated, since {found[0]} is faster"))
            else:
                found.append(self.built(one))
        return found


def _without_dominated(timed: Sequence[Contender]) -> list[Contender]:
    """Give every engine that another backend runs faster in the same precision the reason. `timed` has the fastest
    first."""
    first = {one.precision: one for one in reversed(timed)}
    return [
        one if first[one.precision] is one else one._replace(reason=f"slower than {first[one.precision]}")
        for one in timed
    ]


def _timed_once_more(race: _Race, exact: Sequence[Contender], quantized: Sequence[Contender]) -> list[Contender]:
    """Time INT8, which has its layers' levels only now, once more in turns with the fastest of the others."""
    rivals = [one for one in quantized if one.is_ready]
    if rivals:
        rivals += sorted((one for one in exact if one.is_ready), key=_latency)[:1]
    return _updated([*exact, *quantized], race.timed(rivals) if rivals else [])


def _updated(contenders: Sequence[Contender], timed: Sequence[Contender]) -> list[Contender]:
    """Replace the contenders that were timed again."""
    again = {str(one): one for one in timed}
    return [again.get(str(one), one) for one in contenders]


def _latency(one: Contender) -> float:
    return np.inf if one.latency_ms is None else one.latency_ms
