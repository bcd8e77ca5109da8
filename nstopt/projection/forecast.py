"""A run → its projected rows: for GPUs that are not here, and for this machine as if each net had not been measured.

`--target here` is how the model is put to the test: each net's times are predicted from the other nets of the run, and
stand beside what was measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nstopt.errors import BuildError, DeviceError
from nstopt.gpu import facts as gpus
from nstopt.projection.kernels import KINDS, kernels
from nstopt.projection.model import (
    DeviceModel,
    Efficiency,
    EfficiencyRange,
    Observation,
    Workload,
    fit,
    floors_ms,
    gpu_efficiency,
    graph_of,
    of_backend,
    of_gpu,
    project,
)
from nstopt.runs.projected import HERE, Projected
from nstopt.runs.record import GPU_BACKENDS, Record

LEAST_NETS = 3


def check_targets(targets: Sequence[str], nets: int) -> None:
    """Find out before a long run of that many nets. Raises DeviceError for a GPU that is not in the table, BuildError
    for too few nets to predict one from the others."""
    for target in targets:
        if target != HERE:
            gpus.gpu(target)
        elif nets < LEAST_NETS:
            raise BuildError("--target here predicts each net from the others: bench three nets or more in one run")


def on_gpu(
    target: str, subjects: Sequence[Workload], records: Sequence[Record], models: Mapping[str, Path]
) -> Iterator[Projected]:
    """Each subject on a GPU. Its efficiencies are those of the GPU that `records` were measured on, where they hold
    TensorRT engines of three nets of that precision; else the stated defaults. Raises DeviceError for an unknown
    GPU."""
    gpu = gpus.gpu(target)
    for subject in subjects:
        measured = _measured_on_gpu(records, models, subject.precision)
        there = subject._replace(generation=gpu.architecture)
        yield project(there, of_gpu(gpu), measured or gpu_efficiency(gpu, subject.precision), target)


def here(records: Sequence[Record], models: Mapping[str, Path]) -> tuple[list[Projected], list[str]]:
    """Every engine of ours, predicted from the engines of the other nets, of which there must be two (see
    `check_targets`); and which backends tell too little for that."""
    rows: list[Projected] = []
    left_out: dict[str, None] = {}
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if not record.is_peer and record.net in models:
            groups[record.backend, record.precision].append(record)
    for (backend, _), group in groups.items():
        try:
            device = _device(backend, group[0])
        except DeviceError as error:
            left_out[f"--target here: {error}"] = None
            continue
        observed = [_observe(record, models[record.net], device) for record in group]
        for record, own in zip(group, observed, strict=True):
            others = [one for one in observed if one.net != own.net]
            rows.append(project(_subject(record, models[record.net]), device, _ranges(others), HERE))
    return rows, list(left_out)


def _device(backend: str, record: Record) -> DeviceModel:
    known = gpus.recognize(record.device) if backend in GPU_BACKENDS else None
    return of_gpu(known) if known else of_backend(backend, record.device)


def _measured_on_gpu(records: Sequence[Record], models: Mapping[str, Path], precision: str) -> Efficiency | None:
    found = [
        record
        for record in records
        if record.backend in GPU_BACKENDS
        and record.precision == precision
        and record.net in models
        and not record.is_peer
    ]
    known = gpus.recognize(found[0].device) if found else None
    if known is None or len({record.net for record in found}) < LEAST_NETS:
        return None
    return _ranges([_observe(record, models[record.net], of_gpu(known)) for record in found])


def _subject(record: Record, model: Path) -> Workload:
    return Workload(record.net, model, record.precision, record.size, record.batch, record.backend)


def _observe(record: Record, model: Path, device: DeviceModel) -> Observation:
    found = kernels(graph_of(_subject(record, model)))
    launches_ms = len(found) * device.launch_ms
    return Observation(record.net, floors_ms(found, device, record.precision), record.latency_ms.p50 - launches_ms)


def _ranges(observed: Sequence[Observation]) -> Efficiency:
    """The fitted efficiencies, as far down and up as the fit was wrong about nets that it did not know."""
    fitted = fit(observed)
    spread = 1 + fitted.error
    return {kind: EfficiencyRange(fitted.efficiency[kind] / spread, fitted.efficiency[kind] * spread) for kind in KINDS}
