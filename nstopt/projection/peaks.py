"""Measure the best rates of a device with the backend itself; they give the floor of each layer.

    floor = max(MACs / peak rate of its precision, bytes / bandwidth)

The backend runs small nets (probes.py) and reports how long their layers took. Multiplying: the fastest of three 3x3
convolutions of 128 channels at 64x64, in FP32, in INT8 and, where the device has it, in BF16. Moving: an addition of
two tensors, of about 2, 8 and 34 MB each, since small tensors stay in a cache. A layer is given the bandwidth measured
at the size nearest to its own, on a logarithmic scale.

A floor is thus the time that this library reached on this device on a layer that suits it. A layer may be slightly
faster, by noise, by data in a cache, or by an algorithm that multiplies less.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nstopt import engines
from nstopt.engines.engine import LayerTime
from nstopt.errors import DeviceError
from nstopt.manifest import InputShape
from nstopt.pictures.noise import noise
from nstopt.pictures.size import Size
from nstopt.pipeline.raw import build_raw
from nstopt.runs.layers import Bandwidth, Peaks

if TYPE_CHECKING:
    import onnx

RUNS = 15
MOVE_CHANNELS = (8, 32, 128)


@functools.cache
def measure_peaks(backend: str) -> Peaks:
    """Measure the peaks of a backend's device, once per process; takes some seconds.

    Raises DeviceError if the backend gives no per-layer times, or does not name the layers that they are of.
    """
    from nstopt.pipeline.lower import int8_inputs
    from nstopt.projection import probes

    def best(precision: str) -> float | None:
        net = probes.multiply_net(int8_inputs(engines.backend(backend)) if precision == "int8" else None)
        return _best_macs_per_ms(_profile(net, backend, probes.MULTIPLY_SIDE, precision))

    fp32, int8 = best("fp32"), best("int8")
    bf16 = best("bf16") if engines.backend(backend).is_native("bf16") else None
    if fp32 is None:
        raise DeviceError(f"the {backend} backend does not say which kernels multiply")
    moves = [_profile(probes.move_net(channels), backend, probes.MOVE_SIDE) for channels in MOVE_CHANNELS]
    return Peaks(fp32, int8, tuple(_bandwidth(layers) for layers in moves), bf16)


def _best_macs_per_ms(layers: Iterable[LayerTime]) -> float | None:
    """Rate of the fastest run: on a shared machine, some runs are interrupted for longer than they take."""
    from nstopt.projection.probes import MULTIPLY

    probes = [layer for layer in layers if MULTIPLY in layer.name and layer.work]
    return max((layer.work.macs / min(layer.samples_ms) for layer in probes if layer.work), default=None)


def _bandwidth(layers: Iterable[LayerTime]) -> Bandwidth:
    """Bandwidth at the first quartile of the times: the smallest are too short for the clock to tell the best one. A
    compiler may have fused the addition with others."""
    from nstopt.projection.probes import MOVE

    works = [(layer.work, layer) for layer in layers if MOVE in layer.name and layer.work and not layer.work.macs]
    if not works:
        raise DeviceError("the backend does not say which kernel moves the tensors of an addition")
    work, move = max(works, key=lambda one: one[0].bytes_moved)
    return Bandwidth(work.bytes_moved, work.bytes_moved / float(np.percentile(move.samples_ms, 25)))


def _profile(model: onnx.ModelProto, backend: str, side: int, precision: str = "fp32") -> list[LayerTime]:
    import onnx

    from nstopt.engines.backend import Source

    found = engines.backend(backend)
    if not found.capabilities.compiles_onnx:
        raise DeviceError(f"the {backend} backend gives no per-layer times")
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        source = Source(Path(folder) / "probe.onnx")
        onnx.save(model, source.onnx)
        build_raw(source, found, InputShape.of(1, Size(side, side)), precision, Path(folder) / "probe.nst")
        with engines.load(Path(folder) / "probe.nst") as engine:
            return engine.profile(noise(Size(side, side), 1), RUNS)
