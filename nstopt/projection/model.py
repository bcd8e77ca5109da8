"""Project the latency of a net on a device that is not here, or of an unmeasured net on this one.

    time = sum over kernels of max(MACs / peak rate, bytes / peak bandwidth) / efficiency of its kind + launches

Kernels come from the graph that a build would compile (kernels.py). Peaks of a GPU are those of its data sheet
(gpu/gpus.toml); peaks of this device are measured (peaks.py). Efficiencies are ranges, so a projection is a range too:
either the defaults below, from published measurements of other nets, or those fitted to measurements of this run
(fit.py). For sources and accuracy see docs/projection.md.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nstopt.gpu.facts import OPS_PER_MULTIPLY_ADD, Architecture, Gpu
from nstopt.graph.work import Work
from nstopt.pictures.size import Size
from nstopt.precisions import between, is_quantized, require_known
from nstopt.projection.kernels import (
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
# Starting a kernel of a captured CUDA graph takes a few microseconds, which small sizes cannot hide.
LAUNCH_MS = 0.004


class EfficiencyRange(NamedTuple):
    """Share of the peak rate that kernels of a kind reach, at worst and at best."""

    low: float
    high: float


Efficiency = Mapping[str, EfficiencyRange]
# Efficiencies of FP32 on a GPU. Convolutions: cuDNN on a GTX 1080 reached 0.58 for ResNet-18 and 1.00 for VGG-19
# (Winograd multiplies less than is counted) in jcjohnson/cnn-benchmarks. Memory: assumed, as usual for copies on GPUs.
# Narrow convolutions: assumed between a third and all of the peak, since no published figure was found.
GPU_FP32: Efficiency = {
    MULTIPLYING: EfficiencyRange(0.6, 1.0),
    TRANSPOSED: EfficiencyRange(0.4, 1.0),
    NARROWLY: EfficiencyRange(0.3, 1.0),
    NORMS: EfficiencyRange(0.5, 0.85),
    MOVING: EfficiencyRange(0.65, 0.85),
}
# Efficiency of a lower precision relative to that of FP32. DP4A: 2.7 of 4 times FP32 on VGG (NVIDIA's
# gie_int8_sample). Tensor cores: assumed; layers of style nets are small for them.
DP4A_KEEPS = EfficiencyRange(0.55, 0.8)
TENSOR_CORES_KEEP = EfficiencyRange(0.3, 0.7)


@dataclass(frozen=True)
class DeviceModel:
    """Peak rates of a device. `fp16_macs_per_ms` is used for FP16 graphs and for the FP16 part of int8-fp16.

    `int8_transposed` is True if transposed convolutions can run in INT8. `launch_ms` is the cost of starting a kernel.
    """

    title: str
    peaks: Peaks
    fp16_macs_per_ms: float
    int8_transposed: bool
    launch_ms: float


class Workload(NamedTuple):
    """A net as a build would compile it.

    `model` is its export. `backend` and `generation`, that of the GPU (None: of this machine), determine the forms of
    its layers.
    """

    net: str
    model: Path
    precision: str
    size: Size
    batch: int = 1
    backend: str = "tensorrt"
    generation: Architecture | None = None


def of_gpu(gpu: Gpu) -> DeviceModel:
    """Return the model of a GPU by its data sheet."""
    rate = {name: gpu.gops(name) / OPS_PER_MULTIPLY_ADD * 1e6 for name in ("fp32", "fp16", "int8")}
    bandwidth = Bandwidth(1, gpu.bandwidth_gb_s * 1e6)
    peaks = Peaks(rate["fp32"], rate["int8"], (bandwidth,))
    return DeviceModel(gpu.title, peaks, rate["fp16"], gpu.architecture.has_int8_transposed_convolution, LAUNCH_MS)


def of_backend(backend: str, title: str) -> DeviceModel:
    """Return the model of the device that a backend runs on here, by measured peaks.

    Raises DeviceError if the backend gives no per-layer times.
    """
    from nstopt.projection.peaks import measure_peaks

    peaks = measure_peaks(backend)
    return DeviceModel(title, peaks, peaks.fp32_macs_per_ms, True, 0.0)


def gpu_efficiency(gpu: Gpu, precision: str) -> Efficiency:
    """Return the default efficiencies of a precision on a GPU that was not measured."""
    if precision == "fp32":
        return GPU_FP32
    has_tensor_cores = gpu.architecture.uses_tensor_cores("fp16" if precision == "fp16" else "int8")
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
    """Return the graph that a build would compile, with placeholder INT8 ranges, on which no time depends.

    Raises BuildError or ExportError if it cannot be built.
    """
    import onnx

    from nstopt import engines
    from nstopt.export.onnx_file import read_onnx
    from nstopt.manifest import InputShape
    from nstopt.pipeline.lower import lower

    require_known(workload.precision)
    shape = InputShape.of(workload.batch, workload.size)
    backend, generation = engines.backend(workload.backend), workload.generation
    # BF16 is a hint to the backend: in the graph, it moves the bytes of FP16.
    precision = workload.precision.replace("bf16", "fp16")
    graph = lower(read_onnx(workload.model), shape, backend, precision, generation=generation).model
    return onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True)


def floors_ms(found: Sequence[Kernel], device: DeviceModel, precision: str) -> dict[str, float]:
    """Sum the floors of kernels by kind, in milliseconds. A convolution bound by memory counts as moving."""
    floors: dict[str, float] = defaultdict(float)
    for kernel in found:
        multiplying_ms = kernel.work.macs / _rate(kernel, device, precision)
        moving_ms = device.peaks.floor_ms(Work(0, kernel.work.bytes_read, kernel.work.bytes_written))
        is_bound = multiplying_ms < moving_ms and kernel.kind in (MULTIPLYING, NARROWLY, TRANSPOSED)
        floors[MOVING if is_bound else kernel.kind] += max(multiplying_ms, moving_ms)
    return dict(floors)


def _rate(kernel: Kernel, device: DeviceModel, precision: str) -> float:
    takes_int8 = kernel.kind != TRANSPOSED or device.int8_transposed
    if kernel.work.type == "int8" and device.peaks.int8_macs_per_ms and takes_int8:
        return device.peaks.int8_macs_per_ms
    exact = between(precision) if is_quantized(precision) else precision
    return device.fp16_macs_per_ms if exact == "fp16" else device.peaks.macs_per_ms(exact)


def project(workload: Workload, device: DeviceModel, efficiency: Efficiency, target: str) -> Projected:
    """Project the latency range of a workload. Raises BuildError or ExportError if the net cannot be built that way."""
    found, memory_mib = workload_kernels(workload)
    floors = floors_ms(found, device, workload.precision)
    launches_ms = len(found) * device.launch_ms
    return Projected(
        net=workload.net,
        target=target,
        device=device.title,
        backend=workload.backend,
        precision=workload.precision,
        height=workload.size.height,
        width=workload.size.width,
        batch=workload.batch,
        low_ms=sum(floor / efficiency[kind].high for kind, floor in floors.items()) + launches_ms,
        high_ms=sum(floor / efficiency[kind].low for kind, floor in floors.items()) + launches_ms,
        memory_mib=memory_mib,
    )


def workload_kernels(workload: Workload) -> tuple[tuple[Kernel, ...], float]:
    """Return the kernels of a workload, and a lower bound of their memory in MiB. Raises BuildError or ExportError.

    Rewriting the graph takes most of the time of a projection. The result is kept, since it serves every device.
    """
    return _workload_kernels(workload, workload.model.stat().st_mtime_ns if workload.model.exists() else 0)


@functools.lru_cache(maxsize=256)
def _workload_kernels(workload: Workload, changed_ns: int) -> tuple[tuple[Kernel, ...], float]:
    """See above; `changed_ns` is the time at which the file was changed, so that a changed file is read again."""
    graph = graph_of(workload)
    found = tuple(kernels(graph))
    return found, memory_bytes(graph, found) / MIB
