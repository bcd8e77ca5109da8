"""Build a model as it is, without rewriting, calibrating or judging it: for peers and probes."""

from __future__ import annotations

from pathlib import Path

from nstopt.bundle import Bundle, evidence_of, new_bundle
from nstopt.engines.backend import Backend, BuildOptions, Source
from nstopt.manifest import FORMAT_VERSION, BackendInfo, InputShape, Manifest, NetInfo, PrecisionInfo

NET = NetInfo("raw", "custom", (), 0, "0" * 64)


def build_raw(source: Source, backend: Backend, shape: InputShape, precision: str, path: Path) -> Bundle:
    """Write the bundle of a model that fulfills the I/O contract to `path`. Raises BuildError or DeviceError."""
    with new_bundle(path) as draft:
        built = backend.build(source, shape, precision, draft.folder, BuildOptions(evidence=evidence_of(path)))
        return draft.commit(
            Manifest(
                format_version=FORMAT_VERSION,
                net=NET,
                shape=shape,
                precision=PrecisionInfo(precision, built.computes, {}, built.differences),
                calibration=None,
                quality=None,
                backend=BackendInfo(backend.name, built.device, built.versions),
                files={},
                created="",
            )
        )
