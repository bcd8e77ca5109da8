"""Measure each kernel of an engine and set it beside its floor."""

from __future__ import annotations

from pathlib import Path

from nstopt import engines
from nstopt.bench.inputs import BenchInputs
from nstopt.bundle import MANIFEST
from nstopt.engines.engine import LayerTime
from nstopt.errors import printable
from nstopt.files import sha256_file
from nstopt.pictures.size import Size
from nstopt.projection.peaks import measure_peaks
from nstopt.runs.layers import LayerRow, Layers, Peaks


def measure_layers(bundle: Path, size: Size | None = None, runs: int = 30, image: Path | None = None) -> Layers:
    """Profile the engine of a bundle at `size`, by default the first that it was built for, or 512x512.

    Raises BundleError if the bundle is damaged or does not take `size`, DeviceError if the backend gives no per-layer
    times, MediaError if `image` cannot be read.
    """
    with engines.load(bundle) as engine:
        size, batch = size or engine.shape.sizes.first, engine.shape.batch or 1
        pictures = BenchInputs(image).pictures(size, batch)
        engine(pictures)
        profile = engine.profile(pictures, runs)
        backend = engine.manifest.backend.name
    peaks = measure_peaks(backend)
    return Layers(
        label=printable(bundle.resolve().name),
        sha256=sha256_file(bundle / MANIFEST),
        height=size.height,
        width=size.width,
        batch=batch,
        backend=backend,
        runs=runs,
        peaks=peaks,
        rows=tuple(_row(layer, peaks) for layer in profile),
    )


def _row(layer: LayerTime, peaks: Peaks) -> LayerRow:
    floor_ms = peaks.floor_ms(layer.work) if layer.work else None
    return LayerRow(printable(layer.name), printable(layer.kind), layer.ms, floor_ms)
