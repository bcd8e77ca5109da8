"""ONNX → engine bundle: rewrite, calibrate, build, judge. The one module that sees all rooms."""

from __future__ import annotations

import datetime
import tempfile
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
from nstopt.calib.precision import PRECISIONS, to_precision
from nstopt.calib.quality import judge
from nstopt.calib.ranges import Range
from nstopt.engines.base import Backend
from nstopt.engines.onnxruntime import session
from nstopt.errors import BuildError, CalibrationError
from nstopt.export.metadata import ExportInfo, read_info
from nstopt.export.onnx_source import fulfils_contract, read_onnx
from nstopt.files import sha256_file
from nstopt.graph.nodes import name_convolutions
from nstopt.graph.passes import rewrite
from nstopt.graph.specialise import specialise
from nstopt.graph.tune import Tuner
from nstopt.progress import Progress, Silent
from nstopt.samples import SAMPLE
from nstopt.size import Size

# Where an engine takes any size, this is the one it is calibrated and judged at.
DEFAULT_SIZE = Size(512, 512)


@dataclass(frozen=True)
class BuildSpec:
    """What to build from the exported `model`. `size` None builds an engine for any size. `calib` and `val` are
    folders of pictures; without `val`, the result is judged on pictures of `calib` that are kept out of the
    calibration."""

    model: Path
    folder: Path
    output: Path | None = None
    precision: str = "fp32"
    backend: str = "openvino"
    size: Size | None = DEFAULT_SIZE
    batch: int = 1
    calib: Path | None = None
    val: Path | None = None
    tune: bool = False

    def bundle_path(self) -> Path:
        """`output`, or NAME-HxW-PRECISION.nst in `folder`; other backends than the default and batches are named
        too."""
        size = str(self.size) if self.size else "dynamic"
        extra = [f"b{self.batch}"] if self.batch > 1 else []
        extra += [self.backend] if self.backend != "openvino" else []
        return self.output or self.folder / ("-".join([self.model.stem, size, self.precision, *extra]) + ".nst")


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
        rewritten = rewrite(graph, spec.backend, spec.precision, tuner.choose if tuner else None)
        precise = to_precision(
            rewritten.model,
            spec.precision,
            backend.capabilities.free_zero_point,
            calibration,
            spec.size or DEFAULT_SIZE,
            spec.batch,
            progress,
        )
        progress.step(f"compiling with {spec.backend}")
        with tempfile.TemporaryDirectory() as temporary:
            if backend.capabilities.takes == ".onnx":
                model = Path(temporary) / "model.onnx"
                onnx.save(precise.model, model)
            else:
                model = _torchscript_of(spec.model, info)
            built = backend.build(model, shape, spec.precision, folder)
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
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        )
        quality = _judge(spec, backend, Bundle(folder, manifest), graph, held_out, progress)
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
    if spec.size is None:
        raise BuildError(
            "--tune measures layers in their shape, which an engine for any size has not: name it with --res"
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

    return Tuner(
        backend=spec.backend,
        precision=spec.precision,
        key=backend.identity(),
        measure=lambda models: backend.measure([finished(model) for model in models]),
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
        return np.repeat(picture[None], spec.batch, axis=0)

    with backend.load(bundle) as engine:
        return judge(
            held_out.source,
            progress.track(pictures, len(held_out.pictures), "judging"),
            lambda picture: engine(repeat(picture))[0],
            lambda picture: reference.run(None, {name: repeat(picture)})[0][0],
        )
