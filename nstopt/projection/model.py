"""The latency of a net on a device that is not here, or of a net that was not measured on the one that is.

    time = sum over kernels of max(MACs / peak rate, bytes / peak bandwidth) / efficiency of its kind + launches

Kernels come from the graph that a build would compile (kernels.py). Peaks of a GPU are those of its data sheet
(gpus.toml), peaks of this device are measured (roofline.py). Efficiencies are ranges: those below, which published
measurements of other nets give, or those fitted to measurements of this run. So a projection is a range too. How far
it can be trusted, and where the figures come from: docs/projection.md.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nstopt.errors import BuildError
from nstopt.gpu.facts import OPS_PER_MULTIPLY_ADD, Architecture, Gpu
from nstopt.graph.work import Work
from nstopt.pictures.size import Size
from nstopt.precisions import require_known
from nstopt.projection.kernels import (
    KINDS,
    MOVING,
    MULTIPLYING,
    NARROWLY,
    NORMS,
    TRANSPOSED,
    Kernel,
    kernels,
    memory_bytes,
)
from nstopt.runs.layers import Bandwidth, Peaks
from nstopt.runs.projected import Projected

if TYPE_CHECKING:
    import onnx


MIB = 2**20
# How strongly a fit holds on to the common efficiency, beside one measurement; and how many times better than it a
# kind may come out.
PULL = 0.05
MOST = 20.0
# Starting a kernel of a captured CUDA graph takes a few microseconds, which nothing hides at small sizes.
LAUNCH_MS = 0.004


class EfficiencyRange(NamedTuple):
    """A share of the peak, at worst and at best."""

    low: float
    high: float


Efficiency = Mapping[str, EfficiencyRange]
# FP32 on a GPU. Convolutions: what cuDNN reached on a GTX 1080 for ResNet-18 (0.58) and VGG-19 (1.00: Winograd
# multiplies less than is counted) in jcjohnson/cnn-benchmarks. Memory: assumed, as copies on GPUs usually reach.
# Narrow convolutions: no published figure was found; assumed between a third and all of it.
GPU_FP32: Efficiency = {
    MULTIPLYING: EfficiencyRange(0.6, 1.0),
    TRANSPOSED: EfficiencyRange(0.4, 1.0),
    NARROWLY: EfficiencyRange(0.3, 1.0),
    NORMS: EfficiencyRange(0.5, 0.85),
    MOVING: EfficiencyRange(0.65, 0.85),
}
# How much of its higher peak a lower precision keeps. DP4A: 2.7 of 4 times FP32 on VGG (NVIDIA's gie_int8_sample).
# Tensor cores: assumed; layers of style nets are small for them.
DP4A_KEEPS = EfficiencyRange(0.55, 0.8)
TENSOR_CORES_KEEP = EfficiencyRange(0.3, 0.7)


@dataclass(frozen=True)
class DeviceModel:
    """Peaks in MACs or bytes a millisecond. `fp16_macs_per_ms` is used for graphs in FP16."""

    title: str
    peaks: Peaks
    fp16_macs_per_ms: float
    int8_transposed: bool
    launch_ms: float


class Workload(NamedTuple):
    """A net as a build would compile it: its export, precision, size, batch, and the backend and the GPU generation
    whose forms it takes (None: this machine's)."""

    net: str
    model: Path
    precision: str
    size: Size
    batch: int = 1
    backend: str = "tensorrt"
    generation: Architecture | None = None


class Observation(NamedTuple):
    """What was measured of a net, and its floors by kind, milliseconds."""

    net: str
    floors_ms: Mapping[str, float]
    measured_ms: float


class Fitted(NamedTuple):
    """One efficiency for each kind, and the largest relative error when each net is predicted from the others."""

    efficiency: Mapping[str, float]
    error: float


def of_gpu(gpu: Gpu) -> DeviceModel:
    """A GPU by its data sheet."""
    rate = {name: gpu.gops(name) / OPS_PER_MULTIPLY_ADD * 1e6 for name in ("fp32", "fp16", "int8")}
    bandwidth = Bandwidth(1, gpu.bandwidth_gb_s * 1e6)
    peaks = Peaks(rate["fp32"], rate["int8"], (bandwidth,))
    return DeviceModel(gpu.title, peaks, rate["fp16"], gpu.architecture.has_int8_transposed_convolution, LAUNCH_MS)


def of_backend(backend: str, title: str) -> DeviceModel:
    """The device of this machine that a backend runs on, by measured peaks. Raises DeviceError."""
    from nstopt.projection.peaks import measure_peaks

    peaks = measure_peaks(backend)
    return DeviceModel(title, peaks, peaks.fp32_macs_per_ms, True, 0.0)


def gpu_efficiency(gpu: Gpu, precision: str) -> Efficiency:
    """The stated defaults."""
    if precision == "fp32":
        return GPU_FP32
    has_tensor_cores = gpu.architecture.fp16_tensor > 0 if precision == "fp16" else gpu.architecture.int8_tensor > 0
    if precision == "fp16" and not has_tensor_cores:
        return GPU_FP32
    keeps = TENSOR_CORES_KEEP if has_tensor_cores else DP4A_KEEPS
    return {
        kind: EfficiencyRange(one.low * keeps.low, one.high * keeps.high)
        if kind in (MULTIPLYING, NARROWLY, TRANSPOSED)
        else one
        for kind, one in GPU_FP32.items()
    }


def graph_of(workload: Workload) -> onnx.ModelProto:
    """Return the graph that a build would compile, with placeholder INT8 ranges, on which no time depends. Raises
    BuildError or ExportError."""
    require_known(workload.precision)
    changed_ns = workload.model.stat().st_mtime_ns if workload.model.exists() else 0
    return _lowered(workload, changed_ns)


@functools.lru_cache(maxsize=32)
def _lowered(workload: Workload, changed_ns: int) -> onnx.ModelProto:
    """Lower the export of a workload; `changed_ns` is when its file was changed."""
    import onnx

    from nstopt import engines
    from nstopt.bundle import InputShape
    from nstopt.export.onnx_file import read_onnx
    from nstopt.pipeline.lower import lower

    shape = InputShape.of(workload.batch, workload.size)
    backend, generation = engines.backend(workload.backend), workload.generation
    graph = lower(read_onnx(workload.model), shape, backend, workload.precision, generation=generation).model
    return onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True)


def floors_ms(found: Sequence[Kernel], device: DeviceModel, precision: str) -> dict[str, float]:
    """The least time of all kernels of each kind. One that has to move more than it multiplies counts as moving."""
    floors: dict[str, float] = defaultdict(float)
    for kernel in found:
        multiplying_ms = kernel.work.macs / _rate(kernel, device, precision)
        moving_ms = device.peaks.floor_ms(Work(0, kernel.work.bytes_read, kernel.work.bytes_written))
        is_bound = multiplying_ms < moving_ms and kernel.kind in (MULTIPLYING, NARROWLY, TRANSPOSED)
        floors[MOVING if is_bound else kernel.kind] += max(multiplying_ms, moving_ms)
    return dict(floors)


def _rate(kernel: Kernel, device: DeviceModel, precision: str) -> float:
    peaks = device.peaks
    if precision == "fp16":
        return device.fp16_macs_per_ms
    takes_int8 = kernel.kind != TRANSPOSED or device.int8_transposed
    if kernel.work.int8 and peaks.int8_macs_per_ms and takes_int8:
        return peaks.int8_macs_per_ms
    return device.fp16_macs_per_ms if precision == "int8-fp16" else peaks.fp32_macs_per_ms


def project(subject: Workload, device: DeviceModel, efficiency: Efficiency, target: str) -> Projected:
    """The range of milliseconds a batch. Raises BuildError or ExportError if the net cannot be built so."""
    graph = graph_of(subject)
    found = kernels(graph)
    floors = floors_ms(found, device, subject.precision)
    launches_ms = len(found) * device.launch_ms
    return Projected(
        net=subject.net,
        target=target,
        device=device.title,
        backend=subject.backend,
        precision=subject.precision,
        height=subject.size.height,
        width=subject.size.width,
        batch=subject.batch,
        low_ms=sum(floor / efficiency[kind].high for kind, floor in floors.items()) + launches_ms,
        high_ms=sum(floor / efficiency[kind].low for kind, floor in floors.items()) + launches_ms,
        memory_mib=memory_bytes(graph, found) / MIB,
    )


def fit(observations: Sequence[Observation]) -> Fitted:
    """Efficiencies of this device from what was measured on it: the least squares of the relative error, none negative.
    The error is that of nets that had no part in the fit. Raises BuildError for fewer than two nets: one says nothing
    about another."""
    nets = {one.net for one in observations}
    if len(nets) < 2:
        raise BuildError("a projection for this machine is fitted to other nets: bench two or more in one run")
    errors = []
    for net in nets:
        others = _fit([one for one in observations if one.net != net])
        errors += [abs(predict(one, others) / one.measured_ms - 1) for one in observations if one.net == net]
    return Fitted(_fit(observations), max(errors))


def predict(observation: Observation, efficiency: Mapping[str, float]) -> float:
    """Milliseconds from floors."""
    return sum(floor / efficiency[kind] for kind, floor in observation.floors_ms.items())


def _fit(observations: Sequence[Observation]) -> dict[str, float]:
    """A kind that hardly matters in these nets is held near the efficiency of all together, by a weak pull."""
    from scipy.optimize import nnls

    together = float(np.median([one.measured_ms / sum(one.floors_ms.values()) for one in observations]))
    rows = [[one.floors_ms.get(kind, 0.0) / one.measured_ms for kind in KINDS] for one in observations]
    pull = PULL * np.eye(len(KINDS))
    wanted = np.concatenate([np.ones(len(rows)), np.full(len(KINDS), PULL)])
    slowness, _ = nnls(np.vstack([rows, pull / together]), wanted)
    return {kind: 1 / max(float(one), together / MOST) for kind, one in zip(KINDS, slowness, strict=True)}
