"""Add projected rows to a run: for GPUs that are not here, and for this machine as if each net was not measured.

`--target here` tests the model: each net's times are predicted from the other nets of the run, and shown beside the
measured ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from nstopt.errors import BuildError, DeviceError
from nstopt.gpu import facts
from nstopt.projection.fit import Observation, fit
from nstopt.projection.kernels import KINDS
from nstopt.projection.model import (
    DeviceModel,
    Efficiency,
    EfficiencyRange,
    Workload,
    floors_ms,
    gpu_efficiency,
    of_backend,
    of_gpu,
    project,
    workload_kernels,
)
from nstopt.runs.projected import HERE, Projected
from nstopt.runs.record import GPU_BACKENDS, Record

LEAST_NETS = 3


def check_targets(targets: Sequence[str], nets: int) -> None:
    """Check the targets before a long run of that many nets.

    Raises DeviceError for an unknown GPU, BuildError if there are too few nets to predict one from the others.
    """
    for target in targets:
        if target != HERE:
            facts.gpu(target)
        elif nets < LEAST_NETS:
            raise BuildError("--target here predicts each net from the others: bench three nets or more in one run")


def on_gpus(
    targets: Sequence[str], workloads: Sequence[Workload], records: Sequence[Record], models: Mapping[str, Path]
) -> Iterator[Projected]:
    """Project each workload on each GPU.

    The efficiencies are those of the GPU that `records` were measured on, if they hold engines of three nets in that
    precision, else the defaults. `models` are the exports by name of the net. Raises DeviceError for an unknown GPU.
    """
    precisions = {workload.precision for workload in workloads}
    measured = {precision: _measured_on_gpu(records, models, precision) for precision in precisions}
    for target, workload in product(targets, workloads):
        gpu = facts.gpu(target)
        efficiency = measured[workload.precision] or gpu_efficiency(gpu, workload.precision)
        yield project(workload._replace(generation=gpu.architecture), of_gpu(gpu), efficiency, target)


def here(records: Sequence[Record], models: Mapping[str, Path]) -> tuple[list[Projected], list[str]]:
    """Predict every engine of ours from those of the other nets, of which there must be two (see `check_targets`).

    Returns the rows, and notes on backends that give no per-layer times.
    """
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
            rows.append(project(_workload(record, models[record.net]), device, _ranges(others), HERE))
    return rows, list(left_out)


def _device(backend: str, record: Record) -> DeviceModel:
    known = facts.recognize(record.device) if backend in GPU_BACKENDS else None
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
    known = facts.recognize(found[0].device) if found else None
    if known is None or len({record.net for record in found}) < LEAST_NETS:
        return None
    return _ranges([_observe(record, models[record.net], of_gpu(known)) for record in found])


def _workload(record: Record, model: Path) -> Workload:
    return Workload(record.net, model, record.precision, record.size, record.batch, record.backend)


def _observe(record: Record, model: Path, device: DeviceModel) -> Observation:
    found, _ = workload_kernels(_workload(record, model))
    launches_ms = len(found) * device.launch_ms
    return Observation(record.net, floors_ms(found, device, record.precision), record.latency_ms.p50 - launches_ms)


def _ranges(observed: Sequence[Observation]) -> Efficiency:
    """Widen the fitted efficiencies by the error of the fit on nets that it did not know."""
    fitted = fit(observed)
    spread = 1 + fitted.error
    return {kind: EfficiencyRange(fitted.efficiency[kind] / spread, fitted.efficiency[kind] * spread) for kind in KINDS}
