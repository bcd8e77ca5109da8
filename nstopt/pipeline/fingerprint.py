"""The fingerprint of a build, and whether an existing export or engine is up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nstopt
from nstopt import engines
from nstopt.bundle import open_bundle
from nstopt.calib.picture_sets import PictureSet
from nstopt.engines.backend import Backend
from nstopt.errors import BundleError, DeviceError, ExportError
from nstopt.export.metadata import ExportInfo, read_info
from nstopt.export.onnx_file import read_onnx
from nstopt.files import sha256_file
from nstopt.manifest import Fingerprint, Manifest
from nstopt.pipeline.spec import BuildSpec, choose_pictures
from nstopt.precisions import is_quantized


def fingerprint(spec: BuildSpec, backend: Backend, calibration: PictureSet | None) -> Fingerprint:
    """Return everything that the engine's bytes depend on. Raises DeviceError if the backend's device is missing."""
    options: dict[str, object] = {
        "precision": spec.precision,
        "sizes": spec.sizes,
        "batch": spec.batch or "any",
        "tune": spec.tune,
        "tf32": spec.tf32,
        "workspace_mib": spec.workspace_mib or "no limit",
    }
    if is_quantized(spec.precision):
        options |= {"symmetric": spec.symmetric, "target": f"{spec.min_psnr_db:g} dB"}
    return Fingerprint(
        nstopt=nstopt.__version__,
        model_sha256=sha256_file(spec.model),
        backend=backend.identity(),
        options={name: str(value) for name, value in options.items()},
        calibration_sha256=calibration.sha256 if calibration else None,
    )


def is_engine_up_to_date(spec: BuildSpec, info: ExportInfo | None) -> bool:
    """Return True if the engine that `spec` names exists, is as close to FP32 as `spec` asks, and would be built the
    same again: same export, options, pictures, versions and device. Raises CalibrationError or MediaError for the
    pictures."""
    try:
        manifest = open_bundle(spec.bundle_path()).manifest
    except BundleError:
        return False
    calibration, validation = choose_pictures(spec, info)
    try:
        wanted = fingerprint(spec, engines.backend(spec.backend), calibration)
    except DeviceError:
        return False
    return manifest.fingerprint == wanted and _is_judged_as_wanted(spec, manifest, validation)


def _is_judged_as_wanted(spec: BuildSpec, manifest: Manifest, validation: PictureSet) -> bool:
    """Return True if the engine is good enough, judged on the pictures of --val if they are named."""
    quality = manifest.quality
    if quality is None or not spec.is_met_by(quality):
        return False
    return not spec.val or (quality.source, quality.pictures) == (validation.source, len(validation.pictures))


def is_export_up_to_date(files: Sequence[Path], net: Path, options: Mapping[str, Any]) -> bool:
    """Return True if all of `files` exist, the first one is an ONNX export of this net, and all are newer than the net,
    its VGG and its styles. A net of the same name in another folder is another net. Raises CheckpointError if the net
    cannot be read."""
    from nstopt.nets.checkpoint import source_sha256

    if not all(file.exists() for file in files):
        return False
    if min(file.stat().st_mtime for file in files) < max(_changed(source) for source in _sources(net, options)):
        return False
    try:
        info = read_info(read_onnx(files[0]), files[0])
    except ExportError:
        return False
    return info is not None and info.net.source_sha256 == source_sha256(net)


def _sources(net: Path, options: Mapping[str, Any]) -> Iterator[Path]:
    yield net
    if options.get("vgg"):
        yield options["vgg"]
    yield from (Path(picture) for picture, _ in options.get("styles", ()) if Path(picture).exists())


def _changed(path: Path) -> float:
    """Return the time of the last change of a file, or of the newest file of a folder."""
    return max(float(file.stat().st_mtime) for file in (path, *(path.rglob("*") if path.is_dir() else ())))
