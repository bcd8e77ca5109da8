"""A model as it is → engine, without rewrites, calibration or judging: what peers and probes run in."""

from __future__ import annotations

from pathlib import Path

from nstopt import engines
from nstopt.bundle import (
    FORMAT_VERSION,
    BackendInfo,
    Bundle,
    InputShape,
    Manifest,
    NetInfo,
    PrecisionInfo,
    write_bundle,
)
from nstopt.engines.base import BuildOptions

RAW = BuildOptions(own_norms=True)
NET = NetInfo("raw", "custom", (), 0, "0" * 64)


def build_raw(model: Path, backend: str, shape: InputShape, precision: str, path: Path) -> Bundle:
    """Write the bundle of `model`, a file that the backend takes and that fulfils the I/O contract. Raises BuildError
    or DeviceError."""

    def fill(folder: Path) -> Manifest:
        built = engines.backend(backend).build(model, shape, precision, folder, RAW)
        return Manifest(
            format_version=FORMAT_VERSION,
            net=NET,
            shape=shape,
            precision=PrecisionInfo(precision, built.computes, {}),
            calibration=None,
            quality=None,
            backend=BackendInfo(backend, built.device, built.versions),
            files={},
            created="",
        )

    return write_bundle(path, fill)
