"""ONNX → engine bundle: rewrite, calibrate, build, judge. The one module that sees all rooms."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from nstopt import engines
from nstopt.bundle import (
    FORMAT_VERSION,
    BackendInfo,
    Bundle,
    Manifest,
    NetInfo,
    PrecisionInfo,
    QualityInfo,
    ShapeInfo,
    write_bundle,
)
from nstopt.calib import pictures as sets
from nstopt.calib.int8 import quantise, quantised_tensors
from nstopt.calib.pictures import PictureSet
from nstopt.calib.precision import PRECISIONS, Calibration, Precise, to_precision
from nstopt.calib.quality import judge
from nstopt.calib.ranges import Range
from nstopt.calib.search import Aim
from nstopt.engines.base import Backend, Built
from nstopt.engines.onnxruntime import session
from nstopt.errors import BuildError, CalibrationError
from nstopt.export.metadata import ExportInfo, read_info
from nstopt.export.onnx_source import fulfils_contract, read_onnx
from nstopt.files import sha256_file
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import Rewritten, rewrite
from nstopt.graph.specialise import specialise
from nstopt.graph.tune import Tuner
from nstopt.progress import Progress, Silent
from nstopt.samples import SAMPLE
from nstopt.size import Size

# The search aims higher than what is asked for, since other pictures than those it sees come out somewhat worse; the
# mean has the larger margin, so that a picture that is hard for the net does not slow all others down.
SEARCH_MARGIN_DB = 2.5
WORST_MARGIN_DB = 1.0
WORST_BELOW_DB = 4.0
# Where an engine takes any size, this is the one it is calibrated and judged at.
DEFAULT_SIZE = Size(512, 512)


@dataclass(frozen=True)
class BuildSpec:
    """What to build from the exported `model`. `size` None builds an engine for any size, `batch` None one for any
    number of pictures a call. `calib` and `val` are folders of pictures; without `val`, the result is judged on
    pictures of `calib` that are kept out of the calibration."""

    model: Path
    folder: Path
    output: Path | None = None
    precision: str = "fp32"
    backend: str = "openvino"
    size: Size | None = DEFAULT_SIZE
    batch: int | None = 1
    calib: Path | None = None
    val: Path | None = None
    tune: bool = False
    min_psnr_db: float = 40.0

    def bundle_path(self) -> Path:
        """`output`, or NAME-HxW-PRECISION.nst in `folder`; other backends than the default and batches are named
        too."""
        size = str(self.size) if self.size else "dynamic"
        extra = [f"b{self.batch or 'any'}"] if self.batch != 1 else []
        extra += [self.backend] if self.backend != "openvino" else []
        return self.output or self.folder / ("-".join([self.model.stem, size, self.precision, *extra]) + ".nst")

    @property
    def judged_batch(self) -> int:
        """Pictures a call while the engine is calibrated and judged."""
        return self.batch or 1


def build_engine(spec: BuildSpec, progress: Progress | None = None) -> Bundle:
    """Build the engine bundle of an exported net. Raises BuildError, CalibrationError, DeviceError, MediaError, or
    BundleError if the bundle cannot be written; nothing is left under its name then."""
    progress = progress or Silent()
    backend = _backend(spec)
    raw = read_onnx(spec.model)
    if not fulfils_contract(raw):
        raise BuildError(
            f"{spec.model}: does not take and give uint8 [N, H, W, 3] pictures; run nstopt export on it first"
        )
    info = read_info(raw, spec.model) or ExportInfo(
        NetInfo(spec.model.stem, "custom", (), 0, sha256_file(spec.model)), None
    )
    shape = _shape(spec, raw)
    calibration, held_out = _choose_pictures(spec, info)

    def fill(folder: Path) -> Manifest:
        progress.step("rewriting the graph")
        graph = specialise(raw, shape)
        name_convolutions(graph)
        tuner = _tuner(spec, backend, progress) if spec.tune else None
        # A TorchScript file is run as it was traced: its graph stands for it here, and is left alone.
        is_rewritten = backend.capabilities.takes == ".onnx"
        rewritten = (
            rewrite(graph, spec.backend, tuner.choose if tuner else None) if is_rewritten else Rewritten(graph, ())
        )
        precise = to_precision(rewritten.model, spec.precision, _calibration(spec, backend, calibration), progress)
        progress.step(f"compiling with {spec.backend}")
        built = _compile(spec, backend, precise.model, shape, info, folder)
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
        quality = _judge(spec, backend, Bundle(folder, manifest), graph, held_out, progress)
        _gate(spec, quality, precise)
        return msgspec.structs.replace(manifest, quality=quality)

    return write_bundle(spec.bundle_path(), fill)


def _backend(spec: BuildSpec) -> Backend:
    """The backend, if it can do what is asked for."""
    if spec.precision not in PRECISIONS:
        raise BuildError(f"unknown precision '{spec.precision}'; there are: {', '.join(PRECISIONS)}")
    backend = engines.backend(spec.backend)
    if spec.precision not in backend.capabilities.precisions:
        able = ", ".join(sorted(backend.capabilities.precisions))
        raise BuildError(f"the {spec.backend} backend runs {able} only, not {spec.precision}; choose another --backend")
    return backend


def _tuner(spec: BuildSpec, backend: Backend, progress: Progress) -> Tuner:
    """Chooses forms of layers by timing them on the backend, at the precision that they will have."""
    if spec.size is None or spec.batch is None:
        raise BuildError(
            "--tune measures layers in their shape, which an engine for any size or any number of pictures has not: "
            "name it with --res and --batch"
        )
    free = backend.capabilities.free_zero_point

    def finished(model: onnx.ModelProto) -> bytes:
        if spec.precision == "int8":
            tensors = quantised_tensors(model.graph)
            model = quantise(
                model, {name: Range(0.05, 0 if not readers <= free else 8) for name, readers in tensors.items()}
            )
        serialised: bytes = model.SerializeToString()
        return serialised

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


def _shape(spec: BuildSpec, raw: onnx.ModelProto) -> ShapeInfo:
    batch, height, width = [dim.dim_value for dim in raw.graph.input[0].type.tensor_type.shape.dim][:3]
    exported = Size(height, width)
    if all(exported) and spec.size != exported:
        asked = f"{spec.size}" if spec.size else "any size"
        raise BuildError(
            f"{spec.model}: this graph was exported for {exported}, not for {asked}; "
            f"build with --res {exported}, or export again with --dynamic"
        )
    if batch and batch != spec.batch:
        raise BuildError(f"{spec.model}: this graph takes {batch} pictures at a time; build with --batch {batch}")
    return ShapeInfo(spec.batch, *(spec.size or (None, None)))


def _choose_pictures(spec: BuildSpec, info: ExportInfo) -> tuple[PictureSet | None, PictureSet]:
    """(calibration, held out). Only the bundled sample may be calibrated without the user's pictures."""
    wanted = spec.precision == "int8"
    if wanted and spec.calib is None and info.net.source_sha256 != sha256_file(SAMPLE):
        raise CalibrationError(
            f"{spec.model}: INT8 needs pictures to find its ranges from; give a folder of some dozens of photographs "
            "like those you will stylise with --calib"
        )
    val = sets.at_most(sets.from_folder(spec.val), sets.MAX_JUDGED) if spec.val else None
    if not wanted:
        return None, val or sets.demo()
    given = sets.from_folder(spec.calib) if spec.calib else sets.demo()
    if val:
        return sets.at_most(given, sets.MAX_CALIBRATION), val
    return sets.split(given)


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

    aim = Aim(spec.min_psnr_db + SEARCH_MARGIN_DB, spec.min_psnr_db - WORST_BELOW_DB + WORST_MARGIN_DB)
    return Calibration(
        pictures,
        spec.size or DEFAULT_SIZE,
        spec.judged_batch,
        backend.capabilities.free_zero_point,
        render,
        backend.identity() if spec.precision == "int8" else "",
        aim,
    )


def _compile(
    spec: BuildSpec, backend: Backend, model: onnx.ModelProto, shape: ShapeInfo, info: ExportInfo, folder: Path
) -> Built:
    if backend.capabilities.takes == ".ts":
        return backend.build(_torchscript_of(spec.model, info), shape, spec.precision, folder)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.onnx"
        onnx.save(model, file)
        return backend.build(file, shape, spec.precision, folder)


def _gate(spec: BuildSpec, quality: QualityInfo, precise: Precise) -> None:
    """INT8 pictures must be as close to FP32 as was asked for."""
    worst = spec.min_psnr_db - WORST_BELOW_DB
    if spec.precision == "int8" and (quality.psnr_db_mean < spec.min_psnr_db or quality.psnr_db_worst < worst):
        best = max(precise.search, key=lambda candidate: candidate.psnr_db_mean)
        raise BuildError(
            f"{spec.model}: the best INT8 found ({best.recipe}) gives {quality.psnr_db_mean:.1f} dB mean and "
            f"{quality.psnr_db_worst:.1f} dB on the worst picture; wanted {spec.min_psnr_db:g} and {worst:g}: "
            "give more and more varied --calib pictures, lower --min-psnr, or build FP32"
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
    spec: BuildSpec, backend: Backend, bundle: Bundle, graph: onnx.ModelProto, held_out: PictureSet, progress: Progress
) -> QualityInfo:
    """Engine against the unrewritten FP32 graph in ONNX Runtime."""
    reference = session(graph.SerializeToString())
    name = reference.get_inputs()[0].name
    pictures = held_out.load(spec.size or DEFAULT_SIZE)

    def repeat(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.repeat(picture[None], spec.judged_batch, axis=0)

    with backend.load(bundle) as engine:
        return judge(
            held_out.source,
            progress.track(pictures, len(held_out.pictures), "judging"),
            lambda picture: engine(repeat(picture))[0],
            lambda picture: reference.run(None, {name: repeat(picture)})[0][0],
        )
