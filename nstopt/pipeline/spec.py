"""A build's specification, and the checks that are made before any work begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from nstopt import engines
from nstopt.calib import picture_sets
from nstopt.calib.picture_sets import PictureSet
from nstopt.calib.search import QualityTarget
from nstopt.engines.backend import Backend
from nstopt.errors import BuildError, CalibrationError
from nstopt.export.metadata import ExportInfo
from nstopt.files import sha256_file
from nstopt.manifest import InputShape, QualityInfo
from nstopt.pictures.size import DEFAULT_SIZE, Size, Sizes
from nstopt.precisions import is_quantized, require_known
from nstopt.samples import SAMPLE

DEFAULT_PSNR_DB = 40.0
# The search aims higher than what is asked for, since pictures outside the calibration set come out somewhat worse. The
# mean has the larger margin, so that a single hard picture does not slow the engine down for all others.
SEARCH_MARGIN_DB = 2.5
WORST_MARGIN_DB = 1.0
WORST_BELOW_DB = 4.0


@dataclass(frozen=True)
class BuildSpec:
    """A build of the exported ONNX file `model`.

    `folder`: where the bundle goes under its default name, unless `output` names it. `sizes`: the picture sizes that
    the engine takes; it is calibrated and judged at the first one, or at 512x512 if it takes any. `batch`: pictures per
    call, None for any number. `calib` and `val`: folders of pictures or videos; without `val`, the engine is judged on
    pictures of `calib` that are kept out of the calibration. `tune`: measure the forms of each layer and take the
    fastest. `min_psnr_db`: the PSNR against FP32 that the mean over the validation pictures must reach. `symmetric`:
    INT8 with a zero point of 0, as in TensorRT, on any backend. `drift`: a clip on which the engine is compared with
    FP32 frame by frame. `workspace_mib`: limit of the memory that kernels work in. `force`: build a precision that this
    device runs slower than FP32. `tf32`: let an FP32 engine multiply in TF32. `strict`: fail if the device computes in
    other types than the graph's. `verbose`: put every message into the build log."""

    model: Path
    folder: Path
    output: Path | None = None
    precision: str = "fp32"
    backend: str = "openvino"
    sizes: Sizes = Sizes(DEFAULT_SIZE)  # noqa: RUF009 - immutable
    batch: int | None = 1
    calib: Path | None = None
    val: Path | None = None
    tune: bool = False
    min_psnr_db: float = DEFAULT_PSNR_DB
    symmetric: bool = False
    drift: Path | None = None
    workspace_mib: int | None = None
    force: bool = False
    tf32: bool = False
    strict: bool = False
    verbose: bool = False

    @property
    def shape(self) -> InputShape:
        """The pictures that the engine takes."""
        return InputShape(self.batch, self.sizes)

    @property
    def judged_batch(self) -> int:
        """Pictures per call while the engine is calibrated and judged."""
        return self.batch or 1

    @property
    def worst_psnr_db(self) -> float:
        """The PSNR that the worst picture must reach where the mean must reach `min_psnr_db`."""
        return self.min_psnr_db - WORST_BELOW_DB

    def bundle_path(self) -> Path:
        """Return `output`, or NAME-SIZE-PRECISION.nst in `folder`. The name also states a batch other than 1, a backend
        other than OpenVINO, and options that make another engine of the same net, size and precision."""
        size = "+".join(map(str, self.sizes)) or "dynamic"
        extra = [f"b{self.batch or 'any'}"] if self.batch != 1 else []
        extra += [self.backend] if self.backend != "openvino" else []
        extra += ["symmetric"] if self.symmetric else []
        extra += ["tuned"] if self.tune else []
        extra += ["tf32"] if self.tf32 else []
        return self.output or self.folder / ("-".join([self.model.stem, size, self.precision, *extra]) + ".nst")

    def search_target(self) -> QualityTarget:
        """Return the quality that an INT8 search goes for."""
        return QualityTarget(self.min_psnr_db + SEARCH_MARGIN_DB, self.worst_psnr_db + WORST_MARGIN_DB)

    def is_met_by(self, quality: QualityInfo) -> bool:
        """Return True if pictures are as close to FP32's as was asked for."""
        return quality.psnr_db_mean >= self.min_psnr_db and quality.psnr_db_worst >= self.worst_psnr_db


def require_backend(spec: BuildSpec) -> Backend:
    """Return the backend. Raises BuildError if it cannot do what is asked for, DeviceError if its device is missing."""
    require_known(spec.precision)
    backend = engines.backend(spec.backend)
    able = backend.capabilities
    if spec.precision not in able.precisions:
        runs = ", ".join(sorted(able.precisions))
        raise BuildError(f"the {spec.backend} backend runs {runs} only, not {spec.precision}; choose another --backend")
    if len(spec.sizes.listed) > 1 and not able.several_sizes:
        raise BuildError(f"the {spec.backend} backend builds for one size or, with --dynamic, for any: give one --res")
    if spec.sizes.is_any and not able.dynamic_sizes:
        raise BuildError(f"the {spec.backend} backend must know the sizes: repeat --res for each, without --dynamic")
    if spec.batch is None and not able.dynamic_sizes:
        raise BuildError(f"the {spec.backend} backend must know the number of pictures: give --batch, not --any-batch")
    if spec.workspace_mib is not None and not able.workspace_limit:
        raise BuildError(f"the {spec.backend} backend knows no limit for its workspace: leave --workspace out")
    if spec.tf32 and not (able.tf32 and spec.precision == "fp32"):
        raise BuildError("--tf32 is for FP32 engines of the tensorrt backend: leave it out, or build --fp16")
    if spec.verbose and not able.build_log:
        raise BuildError(f"the {spec.backend} backend writes no build log: leave --verbose out")
    if spec.tune and (spec.sizes.only is None or spec.batch is None):
        raise BuildError(
            "--tune measures layers in their shape, which an engine for several sizes, any size or any number of "
            "pictures does not have: name one with --res and --batch"
        )
    backend.require(spec.precision, spec.force)
    return backend


def require_exported_for(spec: BuildSpec, raw: onnx.ModelProto) -> None:
    """Raise BuildError if the export `raw` is for another size or batch than `spec`."""
    batch, height, width = [dim.dim_value for dim in raw.graph.input[0].type.tensor_type.shape.dim][:3]
    exported = Size(height, width)
    if all(exported) and spec.sizes.only != exported:
        raise BuildError(
            f"{spec.model}: this graph was exported for {exported}, not for {spec.sizes}; "
            f"build with --res {exported}, or export again with --dynamic"
        )
    if batch and batch != spec.batch:
        raise BuildError(f"{spec.model}: this graph takes {batch} pictures at a time; build with --batch {batch}")


def require_calibration(
    net: Path, precisions: Iterable[str], calib: Path | None, info: ExportInfo | None, advice: str = ""
) -> None:
    """Raise CalibrationError if INT8 has no pictures: only the bundled sample may be calibrated without the user's.
    `advice` names what else can be done."""
    if calib is not None or not any(map(is_quantized, precisions)):
        return
    if info is None or info.net.source_sha256 != sha256_file(SAMPLE):
        raise CalibrationError(
            f"{net}: INT8 needs pictures to find its ranges from; give a folder of some dozens of photographs like "
            f"those you will stylize with --calib{advice}"
        )


def choose_pictures(spec: BuildSpec, info: ExportInfo | None) -> tuple[PictureSet | None, PictureSet]:
    """Return (calibration, validation) pictures; no calibration for a precision that needs none. Raises
    CalibrationError or MediaError."""
    require_calibration(spec.model, (spec.precision,), spec.calib, info)
    val = picture_sets.at_most(picture_sets.from_path(spec.val), picture_sets.MAX_VALIDATION) if spec.val else None
    if not is_quantized(spec.precision):
        return None, val or picture_sets.demo()
    given = picture_sets.from_path(spec.calib) if spec.calib else picture_sets.demo()
    if val:
        return picture_sets.at_most(given, picture_sets.MAX_CALIBRATION), val
    return picture_sets.split(given)
