"""Build an engine bundle from an exported net: lower, compile, measure quality, write."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import onnx

from nstopt import engines
from nstopt.bundle import Bundle, evidence_of, new_bundle, read_files
from nstopt.calib import picture_sets
from nstopt.calib.calibrate import Calibration, Quantized, Stylize, calibrate
from nstopt.calib.picture_sets import MAX_VALIDATION, PictureSet
from nstopt.calib.quality import drift, judge
from nstopt.engines.backend import Backend, BuildOptions, Built, Source, take_turns
from nstopt.engines.engine import Engine
from nstopt.errors import BuildError, translated
from nstopt.export.metadata import ExportInfo, read_info
from nstopt.export.onnx_file import fixed_picture_shape, fulfills_contract, read_onnx
from nstopt.export.trial import require_runs
from nstopt.files import sha256_file
from nstopt.manifest import (
    FORMAT_VERSION,
    BackendInfo,
    DriftInfo,
    Manifest,
    NetInfo,
    PrecisionInfo,
    QualityInfo,
    RivalInfo,
)
from nstopt.ort import session
from nstopt.pictures.files import Picture
from nstopt.pipeline.bf16 import centered, choose_fp32_sums
from nstopt.pipeline.fingerprint import fingerprint
from nstopt.pipeline.levels import level_cost
from nstopt.pipeline.lower import LoweredModel, finish, int8_inputs, lower
from nstopt.pipeline.spec import BuildSpec, choose_pictures, require_backend, require_exported_for
from nstopt.pipeline.tune import make_tuner
from nstopt.precisions import is_quantized
from nstopt.progress import Progress, Silent

# Needs no calibration, and is as fast as INT8 on some CPUs.
RIVAL = "bf16"
# Pictures whose FP32 results are remembered: the validation set, and scikit-image's photographs.
REMEMBERED = MAX_VALIDATION + 6


def build_engine(spec: BuildSpec, progress: Progress | None = None, find_rival: bool = True) -> Bundle:
    """Build the engine bundle of an exported net. With `find_rival`, an INT8 engine is compared with a BF16 one where
    the device has BF16. Raises BuildError, CalibrationError, DeviceError, MediaError, or BundleError if the bundle
    cannot be written; nothing is left under its name then."""
    progress = progress or Silent()
    backend = require_backend(spec)
    raw, info = read_export(spec.model)
    require_exported_for(spec, raw)
    calibration, validation = choose_pictures(spec, info)
    clip = picture_sets.clip(spec.drift) if spec.drift else None
    torchscript = _torchscript_beside(spec.model, info)
    if torchscript is None and not backend.capabilities.compiles_onnx:
        raise BuildError(
            f"{spec.model}: the {spec.backend} backend needs the TorchScript file of the same export beside the ONNX "
            "file: export again with --torchscript"
        )
    with new_bundle(spec.bundle_path()) as draft:
        progress.step("rewriting the graph")
        tuner = make_tuner(spec, backend, progress) if spec.tune else None
        choose = tuner.choose if tuner else None
        quantize = partial(_calibrated, spec=spec, backend=backend, pictures=calibration, progress=progress)
        lowered = lower(raw, spec.shape, backend, spec.precision, choose=choose, quantize=quantize)
        options = _options(spec, progress)
        if spec.precision == "bf16":
            lowered = lowered._replace(model=centered(spec, lowered.model))
            exact = _exact(spec, lowered.reference)
            options = replace(options, fp32_sums=choose_fp32_sums(spec, backend, lowered.model, exact, progress))
        progress.step(f"compiling with {spec.backend}")
        with tempfile.TemporaryDirectory() as temporary:
            source = Source(Path(temporary) / "model.onnx", torchscript)
            onnx.save(lowered.model, source.onnx)
            built = backend.build(source, spec.shape, spec.precision, draft.folder, options)
        if spec.strict:
            _require_types(spec, built)
        with backend.load(read_files(draft.folder), spec.shape, draft.path.name) as engine:
            quality, drifted = _measure_quality(spec, engine, lowered.reference, validation, clip, progress)
            rival = None
            if lowered.calibration and find_rival:
                rival = _rival(spec, backend, lowered, engine, quality, validation)
        _require_quality(spec, quality, lowered)
        return draft.commit(
            Manifest(
                format_version=FORMAT_VERSION,
                net=info.net,
                shape=spec.shape,
                precision=PrecisionInfo(spec.precision, built.computes, lowered.layers, built.differences),
                calibration=lowered.calibration,
                quality=quality,
                backend=BackendInfo(spec.backend, built.device, built.versions),
                files={},
                rewrites=tuple(f"{e.rule}: {e.layer}: {e.reason}" for e in lowered.events if e.applied),
                tuning=(*(tuner.chosen.values() if tuner else ()), *built.tuning),
                search=lowered.search,
                drift=drifted,
                rival=rival,
                fingerprint=fingerprint(spec, backend, calibration),
                created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            )
        )


def _options(spec: BuildSpec, progress: Progress) -> BuildOptions:
    return BuildOptions(
        workspace_mib=spec.workspace_mib,
        progress=progress,
        tf32=spec.tf32,
        tune=spec.tune,
        verbose=spec.verbose,
        evidence=evidence_of(spec.bundle_path()),
    )


def read_export(model: Path) -> tuple[onnx.ModelProto, ExportInfo]:
    """Read an ONNX file that `nstopt export` wrote, and the facts that it noted in it. Raises ExportError if the file
    is not valid, BuildError if its graph does not take and give pictures."""
    raw = read_onnx(model)
    if not fulfills_contract(raw):
        raise BuildError(f"{model}: does not take and give uint8 [N, H, W, 3] pictures; run nstopt export on it first")
    if failed := require_runs(model, fixed_picture_shape(raw)):
        raise BuildError(f"{model}: ONNX Runtime cannot run this graph: {failed}")
    info = read_info(raw, model)
    return raw, info or ExportInfo(NetInfo(model.stem, "custom", (), 0, sha256_file(model)), None)


def calibration_of(spec: BuildSpec, backend: Backend, pictures: PictureSet) -> Calibration:
    """Return the inputs of the INT8 search of a build for `backend`, whose candidates run on the backend's judge."""
    judge = engines.backend(backend.capabilities.judge or backend.name)

    def render(model: onnx.ModelProto, images: Sequence[Picture]) -> tuple[list[Picture], float]:
        run, name = judge.compile(model.SerializeToString(), spec.precision), model.graph.input[0].name
        results, times_ms = [], []
        for image in images:
            feed = {name: _repeated(image, spec)}
            begin = time.perf_counter()
            results.append(run(feed)[0][0])
            times_ms.append((time.perf_counter() - begin) * 1e3)
        return results, min(times_ms)

    return Calibration(
        pictures=pictures,
        size=spec.sizes.first,
        batch=spec.judged_batch,
        inputs=int8_inputs(backend, spec.symmetric),
        render=render,
        judge=f"{judge.identity()} {spec.precision}",
        target=spec.search_target(),
        finish=partial(finish, precision=spec.precision),
        level_cost=level_cost(backend, spec.precision),
    )


def _calibrated(
    model: onnx.ModelProto,
    reference: onnx.ModelProto,
    *,
    spec: BuildSpec,
    backend: Backend,
    pictures: PictureSet | None,
    progress: Progress,
) -> Quantized:
    """Search against the same reference that the engine's quality is measured against."""
    assert pictures is not None  # choose_pictures has raised otherwise
    return calibrate(model, calibration_of(spec, backend, pictures), progress, _exact(spec, reference))


def _repeated(picture: Picture, spec: BuildSpec) -> Picture:
    """Return uint8 [N, H, W, 3], with the picture as often as the engine takes pictures per call."""
    return np.repeat(picture[None], spec.judged_batch, axis=0)


def _measure_quality(
    spec: BuildSpec,
    engine: Engine,
    reference: onnx.ModelProto,
    validation: PictureSet,
    clip: PictureSet | None,
    progress: Progress,
) -> tuple[QualityInfo, DriftInfo | None]:
    """Compare the engine with the FP32 `reference` in ONNX Runtime, on pictures and on a clip if there is one."""
    size, exact = spec.sizes.first, _exact(spec, reference)

    def ours(picture: Picture) -> Picture:
        return np.asarray(engine(_repeated(picture, spec))[0], np.uint8)

    pictures = progress.track(validation.load(size), len(validation.pictures), "measuring quality")
    quality = judge(validation.source, pictures, ours, exact)
    if clip is None:
        return quality, None
    frames = progress.track(clip.load(size), len(clip.pictures), "measuring drift")
    return quality, drift(clip.source, clip.sha256, frames, ours, exact)


def _rival(
    spec: BuildSpec,
    backend: Backend,
    lowered: LoweredModel,
    engine: Engine,
    quality: QualityInfo,
    validation: PictureSet,
) -> RivalInfo | None:
    """Return the BF16 engine of the net if it is faster than this INT8 `engine` and closer to FP32, else None."""
    if not backend.is_native(RIVAL):
        return None
    with tempfile.TemporaryDirectory(prefix="nstopt-") as temporary:
        source = Source(Path(temporary) / "model.onnx")
        onnx.save(lowered.rewritten, source.onnx)
        backend.build(source, spec.shape, RIVAL, Path(temporary))
        with backend.load(read_files(Path(temporary)), spec.shape, RIVAL) as rival:
            picture = _repeated(next(iter(validation.load(spec.sizes.first))), spec)
            rival_ms, int8_ms = take_turns([partial(rival, picture), partial(engine, picture)])
            if rival_ms >= int8_ms:
                return None
            found, _ = _measure_quality(spec, rival, lowered.reference, validation, None, Silent())
    if found.psnr_db_mean <= quality.psnr_db_mean:
        return None
    return RivalInfo(RIVAL, rival_ms, int8_ms, found.psnr_db_mean, found.psnr_db_worst)


def _exact(spec: BuildSpec, reference: onnx.ModelProto) -> Stylize:
    """Return the FP32 graph as a function of one picture."""
    return _remembered(reference.SerializeToString(deterministic=True), spec.judged_batch)


@lru_cache(maxsize=2)
def _remembered(reference: bytes, batch: int) -> Stylize:
    """Return a graph as a function of one picture that remembers its last results: the engines of a net are judged one
    after the other on the same pictures."""
    with translated(BuildError, "ONNX Runtime cannot load the FP32 graph"):
        opened = session(reference)
    name = opened.get_inputs()[0].name

    @lru_cache(maxsize=REMEMBERED)
    def stylize(raw: bytes, shape: tuple[int, ...]) -> Picture:
        picture = np.frombuffer(raw, np.uint8).reshape(1, *shape)
        with translated(BuildError, "ONNX Runtime cannot run the FP32 graph on a picture of that size"):
            return np.asarray(opened.run(None, {name: np.repeat(picture, batch, axis=0)})[0][0], np.uint8)

    return lambda picture: stylize(picture.tobytes(), picture.shape)


def _require_types(spec: BuildSpec, built: Built) -> None:
    """Raise BuildError if the device does not compute in the types of the graph."""
    if built.differences or built.computes != ("tf32" if spec.tf32 else spec.precision):
        found = built.differences or (f"this device computes it in {built.computes}",)
        raise BuildError(
            f"{spec.model}: not built as the {spec.precision.upper()} graph states: {'; '.join(found)}; "
            "build without --strict to get this engine"
        )


def _require_quality(spec: BuildSpec, quality: QualityInfo, lowered: LoweredModel) -> None:
    """Raise BuildError if the engine's pictures are not as close to FP32's as was asked for."""
    if spec.is_met_by(quality):
        return
    what, advice = f"the {spec.precision.upper()} engine", "lower --min-psnr, or build another precision"
    if is_quantized(spec.precision):
        best = max(lowered.search, key=lambda candidate: candidate.psnr_db_mean)
        what = f"the best INT8 found ({best.recipe})"
        advice = "give more and more varied --calib pictures, lower --min-psnr, or build FP32"
    raise BuildError(
        f"{spec.model}: {what} gives {quality.psnr_db_mean:.1f} dB mean and {quality.psnr_db_worst:.1f} dB on the "
        f"worst picture; wanted {spec.min_psnr_db:g} and {spec.worst_psnr_db:g}: {advice}"
    )


def _torchscript_beside(model: Path, info: ExportInfo) -> Path | None:
    """Return the TorchScript file of the same export as `model`, found beside it by its hash; None if there is none."""
    files = sorted(model.parent.glob("*.ts")) if info.torchscript_sha256 else []
    return next((file for file in files if sha256_file(file) == info.torchscript_sha256), None)
