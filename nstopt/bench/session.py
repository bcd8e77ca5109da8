"""One `nstopt bench`: nets and engine bundles → engines → cases → a run file that grows with every case.

    pipeline/ensure.py       builds what is missing
    bench/fastest.py         or builds all that this machine runs
    bench/cases.py           plans which engine and which peer runs at which size
    bench/harness.py         times the cases
    bench/layer_times.py     times each engine's layers, with --layers
    projection/forecast.py   adds rows for devices that are not here, with --target

An interrupted run is recognized by its plan, and goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nstopt.bench.cases import Case, plan_cases
from nstopt.bench.fastest import build_fastest, reasons
from nstopt.bench.harness import BenchProgress, BenchSpec, run, run_plan
from nstopt.bench.machine import this_machine
from nstopt.bench.peers import Peer
from nstopt.bundle import is_bundle, open_bundle
from nstopt.errors import BuildError, DeviceError, NstoptError, printable
from nstopt.files import sha256_file
from nstopt.pictures.size import DEFAULT_SIZE, Size, Sizes
from nstopt.pipeline.ensure import SweepSpec, Swept, export, sweep
from nstopt.pipeline.spec import DEFAULT_PSNR_DB, BuildSpec
from nstopt.precisions import CPU_ONLY
from nstopt.progress import Progress
from nstopt.projection.forecast import check_targets
from nstopt.runs.projected import HERE
from nstopt.runs.run_file import FORMAT_VERSION, RunFile, check_writable, read_run, write_run
from nstopt.samples import SAMPLE


@dataclass(frozen=True)
class BenchRequest:
    """Options of one bench. `paths` are engine bundles and nets.

    Of each net, engines of all `sizes`, `precisions`, `backends` and `batches` are built in `folder`, with at least
    `min_psnr_db` against FP32 (None: 40 dB). Without precisions and backends, these are all that this machine runs.
    `peers` are names; they run `checkpoint`, or the net itself.
    """

    paths: Sequence[Path]
    folder: Path
    timing: BenchSpec
    sizes: Sequence[Size] = ()
    precisions: Sequence[str] = ()
    backends: Sequence[str] = ()
    batches: Sequence[int] = ()
    calib: Path | None = None
    val: Path | None = None
    min_psnr_db: float | None = None
    peers: Sequence[str] = ()
    checkpoint: Path | None = None
    net_options: Mapping[str, Any] = field(default_factory=dict)
    layers: bool = False
    targets: Sequence[str] = ()


class PreparedRun(NamedTuple):
    """All cases, the ONNX export of each net by its name, and what is not available here, with reasons."""

    cases: list[Case]
    models: dict[str, Path]
    left_out: tuple[str, ...]


def prepare(request: BenchRequest, progress: Progress) -> PreparedRun:
    """Build missing engines and plan the cases.

    Raises what building raises, and BundleError or BuildError if parts of the request do not fit together.
    """
    paths = dict.fromkeys(request.paths)
    bundles = [path for path in paths if is_bundle(path)]
    nets = [path for path in paths if not is_bundle(path)]
    of_nets = (request.precisions, request.backends, request.targets, request.calib, request.val, request.min_psnr_db)
    if bundles and any(of_nets):
        raise BuildError(
            f"{bundles[0]}: this engine is built already; --precision, --backend, --target, --calib, --val and "
            "--min-psnr go with a net: name its checkpoint or its .onnx"
        )
    check_targets(request.targets, len(nets))
    _check_names(nets)
    cases: list[Case] = []
    models: dict[str, Path] = {}
    left_out: list[str] = []
    if bundles or not nets:
        for batch in request.batches or (None,):
            cases += plan_cases(bundles, request.sizes, batch, _peers(request, bundles[0] if bundles else None))
    for net in nets:
        is_named = bool(request.precisions or request.backends)
        swept = sweep(_sweep_spec(request, net), progress) if is_named else _all_of(request, net, progress)
        models[_name_of(swept.model)] = swept.model
        left_out += [f"{net.name}: {what}" for what in swept.left_out]
        for batch in request.batches or (1,):
            made = [path for path in swept.bundles if _takes(path, batch)]
            cases += plan_cases(made, request.sizes, batch, _peers(request, net))
    return PreparedRun(cases, models, tuple(left_out))


def bench(
    request: BenchRequest,
    planned: PreparedRun,
    json_path: Path,
    on_progress: Callable[[BenchProgress], None] = lambda _: None,
    earlier: RunFile | None = None,
) -> RunFile:
    """Measure and project; rewrite `json_path` after each step.

    Raises what measuring raises, and NstoptError if the file cannot be written.
    """
    check_writable(json_path)
    kept = earlier.records if earlier else ()
    created = earlier.created if earlier else datetime.now(timezone.utc).isoformat(timespec="seconds")
    left_out = [*map(printable, planned.left_out)]
    file = RunFile(FORMAT_VERSION, created, run_plan(planned.cases, request.timing), (), left_out=tuple(left_out))
    for record in run(planned.cases, request.timing, on_progress, kept, lambda why: left_out.append(printable(why))):
        file = msgspec.structs.replace(file, records=(*file.records, record))
        write_run(json_path, file)
    file = msgspec.structs.replace(file, left_out=tuple(left_out))
    engines = [case for case in planned.cases if not case.info.is_peer] if request.layers else []
    for number, case in enumerate(engines):
        on_progress(BenchProgress(f"layers of {case}", number, len(engines)))
        file = _with_layers(file, case, request.timing)
        write_run(json_path, file)
    file = msgspec.structs.replace(_with_projections(file, request, planned), is_complete=True)
    write_run(json_path, file)
    return file


def interrupted(
    json_path: Path | None, folder: Path, request: BenchRequest, planned: PreparedRun
) -> tuple[Path, RunFile] | None:
    """Find the run file to go on with: `json_path`, or the newest in `folder`.

    It must have the same plan, be measured on this machine with the same versions, and be unfinished.
    """
    paths = [json_path] if json_path else sorted(folder.glob("bench-*.json"), reverse=True)
    wanted, here = run_plan(planned.cases, request.timing), this_machine()
    for path in paths:
        try:
            found = read_run(path)
        except NstoptError:
            continue
        is_same = found.plan == wanted and all(record.machine == here for record in found.records)
        if is_same and found.records and not found.is_complete:
            return path, found
    return None


def _check_names(nets: Sequence[Path]) -> None:
    """Raise BuildError if two nets have the same name, since exports and engines are named after their net."""
    for number, net in enumerate(nets):
        if any(net.stem == other.stem for other in nets[:number]):
            raise BuildError(f"{net}: another net of this run is also called {net.stem}; rename one of the files")


def _all_of(request: BenchRequest, net: Path, progress: Progress) -> Swept:
    """Build the engines of a net in all precisions that this machine computes in, each on its fastest backend."""
    model = export(net, request.folder, request.net_options, progress=progress)
    spec = BuildSpec(model, request.folder, calib=request.calib, val=request.val, min_psnr_db=_min_psnr_db(request))
    bundles: list[Path] = []
    left_out: dict[str, None] = {}
    for size, batch in product(request.sizes or (DEFAULT_SIZE,), request.batches or (1,)):
        found = build_fastest(replace(spec, sizes=Sizes(size), batch=batch), progress, keep_all=True)
        bundles += [one.bundle.path for one in found.contenders if one.bundle]
        left_out |= dict.fromkeys(reasons([one for one in found.contenders if not one.bundle]))
    return Swept(model, tuple(bundles), tuple(left_out))


def _sweep_spec(request: BenchRequest, net: Path) -> SweepSpec:
    return SweepSpec(
        net=net,
        folder=request.folder,
        sizes=request.sizes or (DEFAULT_SIZE,),
        precisions=request.precisions or ("fp32",),
        backends=request.backends or ("openvino",),
        batches=request.batches or (1,),
        calib=request.calib,
        val=request.val,
        min_psnr_db=_min_psnr_db(request),
        net_options=request.net_options,
    )


def _min_psnr_db(request: BenchRequest) -> float:
    return DEFAULT_PSNR_DB if request.min_psnr_db is None else request.min_psnr_db


def _name_of(model: Path) -> str:
    """Return the net's name as records have it."""
    from nstopt.export.metadata import read_info
    from nstopt.export.onnx_file import read_onnx

    info = read_info(read_onnx(model), model)
    return info.net.name if info else model.stem


def _takes(bundle: Path, batch: int) -> bool:
    return open_bundle(bundle).manifest.shape.batch == batch


def _peers(request: BenchRequest, subject: Path | None) -> list[Peer]:
    """Return the peers with the checkpoint they run: the given one, the net itself, or the bundled sample's."""
    if not request.peers or subject is None:
        return []
    checkpoint = request.checkpoint
    if checkpoint is None and not is_bundle(subject) and subject.suffix != ".onnx":
        checkpoint = subject
    if checkpoint is None and is_bundle(subject):
        is_sample = open_bundle(subject).manifest.net.source_sha256 == sha256_file(SAMPLE)
        checkpoint = SAMPLE if is_sample else None
    if checkpoint is None:
        raise BuildError("--compare runs the net's own file; name it with --checkpoint")
    return [Peer(name, checkpoint, dict(request.net_options)) for name in request.peers]


def _with_layers(file: RunFile, case: Case, timing: BenchSpec) -> RunFile:
    """Add the layers of one engine to the run, or a note if its backend gives no per-layer times."""
    from nstopt.bench.layer_times import measure_layers

    assert case.info.bundle is not None
    try:
        measured = measure_layers(Path(case.info.bundle), case.info.size, timing.runs, timing.image)
    except DeviceError as error:
        return msgspec.structs.replace(file, left_out=(*file.left_out, f"layers of {case}: {error}"))
    return msgspec.structs.replace(file, layers=(*file.layers, measured))


def _with_projections(file: RunFile, request: BenchRequest, planned: PreparedRun) -> RunFile:
    from nstopt.projection import forecast
    from nstopt.projection.model import Workload

    asked = request.precisions or ("fp32",)
    on_gpus = [one for one in asked if one not in CPU_ONLY]
    shapes = product(request.sizes or (DEFAULT_SIZE,), request.batches or (1,), on_gpus)
    workloads = [
        Workload(net, model, precision, size, batch)
        for (net, model), (size, batch, precision) in product(planned.models.items(), shapes)
    ]
    gpus = [target for target in request.targets if target != HERE]
    rows = list(forecast.on_gpus(gpus, workloads, file.records, planned.models))
    on_cpus = [one for one in asked if gpus and one in CPU_ONLY]
    left_out = [f"{one} on {', '.join(gpus)}: only engines on CPUs have it" for one in on_cpus]
    if HERE in request.targets:
        found, lacking = forecast.here(file.records, planned.models)
        rows, left_out = rows + found, left_out + lacking
    return msgspec.structs.replace(file, projected=tuple(rows), left_out=(*file.left_out, *left_out))
