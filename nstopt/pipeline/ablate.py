"""Measure what each part of the INT8 recipe is worth for an exported net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nstopt.calib.ablation import AblationResult, ablate
from nstopt.export.onnx_file import read_onnx
from nstopt.pipeline.build import calibration_of, read_export
from nstopt.pipeline.lower import lower
from nstopt.pipeline.spec import BuildSpec, choose_pictures, require_backend, require_exported_for
from nstopt.progress import Progress, Silent


def ablate_int8(spec: BuildSpec, others: Sequence[Path] = (), progress: Progress | None = None) -> list[AblationResult]:
    """Search the INT8 recipe of a build and take its parts away one after the other. `others` are INT8 ONNX files of
    the same net by other tools. Raises BuildError, CalibrationError, DeviceError, MediaError."""
    backend = require_backend(spec)
    raw, info = read_export(spec.model)
    require_exported_for(spec, raw)
    pictures, validation = choose_pictures(spec, info)
    assert pictures is not None  # the precision is int8
    model = lower(raw, spec.shape, backend, spec.precision).rewritten
    peers = {path.name: read_onnx(path) for path in others}
    return ablate(model, calibration_of(spec, backend, pictures), validation, peers, progress or Silent())
