"""Whether an export or an engine that lies there is what would be made now, so that it need not be made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nstopt.bundle import MANIFEST, InputShape, Manifest, open_bundle
from nstopt.errors import BundleError, ExportError
from nstopt.export.metadata import ExportInfo, read_info
from nstopt.export.onnx_file import read_onnx
from nstopt.files import sha256_file
from nstopt.pipeline.spec import BuildSpec, choose_pictures


def is_export_of(files: Sequence[Path], net: Path, options: Mapping[str, Any]) -> bool:
    """Whether the ONNX file that is the first of `files` was made from this net, and all of them after it, its VGG and
    its styles were last changed. A net of the same name in another folder is another net. Raises CheckpointError if
    the net cannot be read."""
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


def is_engine_of(spec: BuildSpec, info: ExportInfo | None) -> bool:
    """Whether the engine that `spec` names was built from its export (of which `info` is known), after it, with the
    pictures and to the quality that `spec` wants. Raises CalibrationError or MediaError for its pictures."""
    path = spec.bundle_path()
    try:
        manifest = open_bundle(path).manifest
    except BundleError:
        return False
    made = (manifest.backend.name, manifest.precision.asked, manifest.shape)
    wanted = (spec.backend, spec.precision, InputShape(spec.batch, *(spec.size or (None, None))))
    source_sha256 = info.net.source_sha256 if info else sha256_file(spec.model)
    is_same = made == wanted and source_sha256 == manifest.net.source_sha256
    is_newer = (path / MANIFEST).stat().st_mtime >= spec.model.stat().st_mtime
    return is_same and is_newer and _is_judged_as_wanted(spec, info, manifest)


def _is_judged_as_wanted(spec: BuildSpec, info: ExportInfo | None, manifest: Manifest) -> bool:
    """Pictures that are not named now may be any."""
    quality, calibration = manifest.quality, manifest.calibration
    if quality is None or not spec.is_met_by(quality):
        return False
    given, held_out = choose_pictures(spec, info)
    if spec.calib and given and (calibration is None or calibration.sha256 != given.sha256):
        return False
    return not spec.val or (quality.source, quality.pictures) == (held_out.source, len(held_out.pictures))


def _sources(net: Path, options: Mapping[str, Any]) -> Iterator[Path]:
    yield net
    if options.get("vgg"):
        yield options["vgg"]
    yield from (Path(picture) for picture, _ in options.get("styles", ()) if Path(picture).exists())


def _changed(path: Path) -> float:
    """When a file, or the last file of a folder, was changed."""
    return max(float(file.stat().st_mtime) for file in (path, *(path.rglob("*") if path.is_dir() else ())))
