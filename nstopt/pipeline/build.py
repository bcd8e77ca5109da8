"""ONNX → engine bundle: rewrite, calibrate, build, judge. The one module that sees all rooms."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt.bundle import (
    FORMAT_VERSION,
    BackendInfo,
    Bundle,
    DriftInfo,
    InputShape,
    Manifest,
    NetInfo,
    PrecisionInfo,
    QualityInfo,
    write_bundle,
)
from nstopt.calib import picture_sets as sets
from nstopt.calib.ablation import Ablated, ablate
from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.picture_sets import PictureSet
from nstopt.calib.precision import Calibration, Precise, to_precision
from nstopt.calib.quality import drift, judge
from nstopt.calib.ranges import SYMMETRIC, Distribution, Int8Inputs, min_max_range
from nstopt.engines.base import Backend, BuildOptions, Built
from nstopt.engines.onnxruntime import session
from nstopt.errors import BuildError
from nstopt.export.metadata import ExportInfo, read_info
from nstopt.export.onnx_file import fulfils_contract, read_onnx
from nstopt.files import sha256_file
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import Rewritten, rewrite
from nstopt.graph.specialize import specialize
from nstopt.graph.tune import Tuner
from nstopt.pipeline.spec import BuildSpec, backend_of, choose_pictures, shape_of
from nstopt.precisions import is_quantized
from nstopt.progress import Progress, Silent


def build_engine(spec: BuildSpec, progress: Progress | None = None) -> Bundle:
    """Build the engine bundle of an exported net. Raises BuildError, CalibrationError, DeviceError, MediaError, or
    BundleError if the bundle cannot be written; nothing is left under its name then."""
    progress = progress or Silent()
    backend = backend_of(spec)
    raw = read_onnx(spec.model)
    if not fulfils_contract(raw):
        raise BuildError(
            f"{spec.model}: does not take and give uint8 [N, H, W, 3] pictures; run nstopt export on it first"
        )
    info = read_info(raw, spec.model) or ExportInfo(
        NetInfo(spec.model.stem, "custom", (), 0, sha256_file(spec.model)), None
    )
    shape = shape_of(spec, raw)
    calibration, held_out = choose_pictures(spec, info)
    clip = sets.clip(spec.drift) if spec.drift else None

    def fill(folder: Path) -> Manifest:
        progress.step("rewriting the graph")
        graph = specialize(raw, shape)
        name_convolutions(graph)
        tuner = _tuner(spec, backend, progress) if spec.tune else None
        # A TorchScript file is run as it was traced: its graph stands for it here, and is left alone.
        is_rewritten = backend.capabilities.takes == ".onnx"
        choose = tuner.choose if tuner else partial(backend.default_form, precision=spec.precision)
        rewritten = rewrite(graph, spec.backend, choose) if is_rewritten else Rewritten(graph, ())
        precise = to_precision(rewritten.model, spec.precision, _calibration(spec, backend, calibration), progress)
        progress.step(f"compiling with {spec.backend}")
        built = _compile(spec, backend, precise.model, shape, info, folder, progress)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            net=info.net,
            shape=shape,
            precision=PrecisionInfo(spec.precision, built.computes, precise.layers),
            calibration=precise.calibration,
            quality=None,
            backend=BackendInfo(spec.backend, built.device, built.versions),
            files={file.name: "" for file in folder.iterdir()},
            rewrites=tuple(f"{e.rule}: {e.layer}: {e.reason}" for e in rewritten.events if e.applied),
            tuning=tuple(tuner.chosen.values()) if tuner else (),
            search=precise.search,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )
        quality, drifted = _judge(spec, backend, Bundle(folder, manifest), graph, held_out, clip, progress)
        _gate(spec, quality, precise)
        return msgspec.structs.replace(manifest, quality=quality, drift=drifted)

    return write_bundle(spec.bundle_path(), fill)


def ablate_int8(spec: BuildSpec, others: Sequence[Path] = (), progress: Progress | None = None) -> list[Ablated]:
    """What each part of INT8 is worth for an exported net, beside the INT8 ONNX files of `others`. Raises BuildError,
    CalibrationError, DeviceError, MediaError."""
    progress = progress or Silent()
    backend = backend_of(spec)
    raw = read_onnx(spec.model)
    shape = shape_of(spec, raw)
    pictures, held_out = choose_pictures(spec, read_info(raw, spec.model))
    assert pictures is not None
    graph = specialize(raw, shape)
    name_convolutions(graph)
    model = rewrite(graph, spec.backend, None).model
    peers = {path.name: read_onnx(path) for path in others}
    return ablate(model, _calibration(spec, backend, pictures), pictures, held_out, peers, progress)


def _inputs(spec: BuildSpec, backend: Backend) -> Int8Inputs:
    """What INT8 convolutions may be given."""
    can = backend.capabilities
    return SYMMETRIC if spec.symmetric else Int8Inputs(tuple(sorted(can.free_zero_point)), can.unsigned)


def _tuner(spec: BuildSpec, backend: Backend, progress: Progress) -> Tuner:
    """Chooses forms of layers by timing them on the backend, at the precision that they will have."""
    if spec.size is None or spec.batch is None:
        raise BuildError(
            "--tune measures layers in their shape, which an engine for any size or any number of pictures has not: "
            "name it with --res and --batch"
        )
    inputs = _inputs(spec, backend)

    def finished(model: onnx.ModelProto) -> bytes:
        if is_quantized(spec.precision):
            anything = Distribution(np.array([0.0, 8.0]), np.ones(2), 0.0, 8.0)
            tensors = quantized_tensors(model.graph).items()
            model = quantize(model, {name: min_max_range(anything, inputs.grid(nodes)) for name, nodes in tensors})
        serialized: bytes = model.SerializeToString()
        return serialized

    def measure(models: Sequence[onnx.ModelProto]) -> list[float]:
        port = models[0].graph.input[0]
        shape = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
        feed = {port.name: np.random.default_rng(0).uniform(0, 8, shape).astype(np.float32)}
        return backend.measure([finished(model) for model in models], feed)

    return Tuner(
        backend=spec.backend,
        precision=spec.precision,
        key=backend.identity(),
        measure=measure,
        on_layer=lambda layer: progress.step(f"measuring forms of {layer}"),
    )


def _calibration(spec: BuildSpec, backend: Backend, pictures: PictureSet | None) -> Calibration:
    def render(model: onnx.ModelProto, images: Sequence[NDArray[np.uint8]]) -> tuple[list[NDArray[np.uint8]], float]:
        run, name = backend.compile(model.SerializeToString()), model.graph.input[0].name
        results, times_ms = [], []
        for image in images:
            feed = {name: np.repeat(image[None], spec.judged_batch, axis=0)}
            begin = time.perf_counter()
            results.append(run(feed)[0][0])
            times_ms.append((time.perf_counter() - begin) * 1e3)
        return results, min(times_ms)

    return Calibration(
        pictures,
        spec.judged_size(),
        spec.judged_batch,
        _inputs(spec, backend),
        render,
        backend.identity() if is_quantized(spec.precision) else "",
        spec.aim(),
    )


def _compile(
    spec: BuildSpec,
    backend: Backend,
    model: onnx.ModelProto,
    shape: InputShape,
    info: ExportInfo,
    folder: Path,
    progress: Progress,
) -> Built:
    options = BuildOptions(spec.workspace_mib, spec.force, progress=progress)
    if backend.capabilities.takes == ".ts":
        return backend.build(_torchscript_of(spec.model, info), shape, spec.precision, folder, options)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.onnx"
        onnx.save(model, file)
        return backend.build(file, shape, spec.precision, folder, options)


def _gate(spec: BuildSpec, quality: QualityInfo, precise: Precise) -> None:
    """Raises BuildError for an engine that is not good enough, whatever its precision."""
    if spec.is_met_by(quality):
        return
    what, advice = f"the {spec.precision.upper()} engine", "lower --min-psnr, or build another precision"
    if is_quantized(spec.precision):
        best = max(precise.search, key=lambda candidate: candidate.psnr_db_mean)
        what = f"the best INT8 found ({best.recipe})"
        advice = "give more and more varied --calib pictures, lower --min-psnr, or build FP32"
    raise BuildError(
        f"{spec.model}: {what} gives {quality.psnr_db_mean:.1f} dB mean and {quality.psnr_db_worst:.1f} dB on the "
        f"worst picture; wanted {spec.min_psnr_db:g} and {spec.worst_psnr_db:g}: {advice}"
    )


def _torchscript_of(model: Path, info: ExportInfo) -> Path:
    """The file traced in the same export as `model`, found beside it by its hash."""
    for candidate in sorted(model.parent.glob("*.ts")):
        if sha256_file(candidate) == info.torchscript_sha256:
            return candidate
    raise BuildError(
        f"{model}: the torchscript backend needs the TorchScript file of the same export beside it; "
        f"export again with --torchscript {model.with_suffix('.ts')}"
    )


def _judge(
    spec: BuildSpec,
    backend: Backend,
    bundle: Bundle,
    graph: onnx.ModelProto,
    held_out: PictureSet,
    clip: PictureSet | None,
    progress: Progress,
) -> tuple[QualityInfo, DriftInfo | None]:
    """Engine against the unrewritten FP32 graph in ONNX Runtime, on pictures and, if there is one, on a clip."""
    reference = session(graph.SerializeToString())
    name = reference.get_inputs()[0].name
    size = spec.judged_size()

    def repeat(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.repeat(picture[None], spec.judged_batch, axis=0)

    def exact(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(reference.run(None, {name: repeat(picture)})[0][0], np.uint8)

    with backend.load(bundle) as engine:

        def ours(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return np.asarray(engine(repeat(picture))[0], np.uint8)

        shown = progress.track(held_out.load(size), len(held_out.pictures), "judging")
        quality = judge(held_out.source, shown, ours, exact)
        if clip is None:
            return quality, None
        shown = progress.track(clip.load(size), len(clip.pictures), "measuring drift")
        return quality, drift(clip.source, clip.sha256, shown, ours, exact)
