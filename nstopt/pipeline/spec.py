"""What to build from an export, and whether that can be done: all that is asked before work begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx

from nstopt import engines
from nstopt.bundle import InputShape, QualityInfo
from nstopt.calib import picture_sets as sets
from nstopt.calib.picture_sets import PictureSet
from nstopt.calib.search import QualityTarget
from nstopt.engines.base import Backend
from nstopt.errors import BuildError, CalibrationError
from nstopt.export.metadata import ExportInfo
from nstopt.files import sha256_file
from nstopt.pictures.size import Size
from nstopt.precisions import is_quantized, require_known
from nstopt.samples import SAMPLE

# The search aims higher than what is asked for, since other pictures than those it sees come out somewhat worse; the
# mean has the larger margin, so that a picture that is hard for the net does not slow all others down.
SEARCH_MARGIN_DB = 2.5
WORST_MARGIN_DB = 1.0
WORST_BELOW_DB = 4.0
# Where an engine takes any size, this is the one it is calibrated and judged at.
DEFAULT_SIZE = Size(512, 512)


@dataclass(frozen=True)
class BuildSpec:
    """What to build from the exported `model`. `size` None builds an engine for any size, or for each of `sizes`, of
    which the first is the one it is calibrated and judged at; `batch` None one for any number of pictures a call.
    `calib` and `val` are folders of pictures or videos; without `val`, the result is judged on pictures of `calib` that
    are kept out of the calibration. `symmetric` asks for INT8 as TensorRT has it, on any backend: int8 with a zero
    point of 0. `drift` is a clip on which the engine is compared with FP32 frame by frame. `workspace_mib` limits the
    memory that kernels work in; `force` builds what is slower than FP32 on this device."""

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
    symmetric: bool = False
    drift: Path | None = None
    sizes: tuple[Size, ...] = ()
    workspace_mib: int | None = None
    force: bool = False

    def judged_size(self) -> Size:
        """The size of the pictures that the engine is calibrated and judged at."""
        return self.size or next(iter(self.sizes), DEFAULT_SIZE)

    def bundle_path(self) -> Path:
        """`output`, or NAME-HxW-PRECISION.nst in `folder`; other backends than the default and batches are named
        too."""
        size = str(self.size) if self.size else "+".join(map(str, self.sizes)) or "dynamic"
        extra = [f"b{self.batch or 'any'}"] if self.batch != 1 else []
        extra += [self.backend] if self.backend != "openvino" else []
        return self.output or self.folder / ("-".join([self.model.stem, size, self.precision, *extra]) + ".nst")

    @property
    def judged_batch(self) -> int:
        """Pictures a call while the engine is calibrated and judged."""
        return self.batch or 1

    @property
    def worst_psnr_db(self) -> float:
        """What the worst picture must reach where the mean must reach `min_psnr_db`."""
        return self.min_psnr_db - WORST_BELOW_DB

    def aim(self) -> QualityTarget:
        """What a search goes for."""
        return QualityTarget(self.min_psnr_db + SEARCH_MARGIN_DB, self.worst_psnr_db + WORST_MARGIN_DB)

    def is_met_by(self, quality: QualityInfo) -> bool:
        """Whether pictures are as close to FP32's as is asked for."""
        return quality.psnr_db_mean >= self.min_psnr_db and quality.psnr_db_worst >= self.worst_psnr_db


def backend_of(spec: BuildSpec) -> Backend:
    """The backend. Raises BuildError where it cannot do what is asked for, DeviceError where its device is missing."""
    require_known(spec.precision)
    backend = engines.backend(spec.backend)
    able = backend.capabilities
    if spec.precision not in able.precisions:
        runs = ", ".join(sorted(able.precisions))
        raise BuildError(f"the {spec.backend} backend runs {runs} only, not {spec.precision}; choose another --backend")
    if spec.sizes and not able.several_sizes:
        raise BuildError(f"the {spec.backend} backend builds for one size or, with --dynamic, for any: give one --res")
    if spec.size is None and not spec.sizes and not able.dynamic_sizes:
        raise BuildError(f"the {spec.backend} backend must know the sizes: repeat --res for each, without --dynamic")
    if spec.batch is None and not able.dynamic_sizes:
        raise BuildError(f"the {spec.backend} backend must know the number of pictures: give --batch, not --any-batch")
    if spec.workspace_mib is not None and not able.workspace_limit:
        raise BuildError(f"the {spec.backend} backend knows no limit for its workspace: leave --workspace out")
    backend.require(spec.precision, spec.force)
    return backend


def shape_of(spec: BuildSpec, raw: onnx.ModelProto) -> InputShape:
    """The shape to build for. Raises BuildError where the export `raw` is for another one."""
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
    height, width = spec.size or (None, None)
    return InputShape(spec.batch, height, width, spec.sizes)


def require_calibration(
    net: Path, precisions: Iterable[str], calib: Path | None, info: ExportInfo | None, advice: str = ""
) -> None:
    """Raises CalibrationError where INT8 has no pictures: only the bundled sample may be calibrated without the
    user's. `advice` is what else may be done."""
    if calib is not None or not any(map(is_quantized, precisions)):
        return
    if info is None or info.net.source_sha256 != sha256_file(SAMPLE):
        raise CalibrationError(
            f"{net}: INT8 needs pictures to find its ranges from; give a folder of some dozens of photographs like "
            f"those you will stylize with --calib{advice}"
        )


def choose_pictures(spec: BuildSpec, info: ExportInfo | None) -> tuple[PictureSet | None, PictureSet]:
    """(calibration, held out). Raises CalibrationError or MediaError."""
    require_calibration(spec.model, (spec.precision,), spec.calib, info)
    val = sets.at_most(sets.from_path(spec.val), sets.MAX_JUDGED) if spec.val else None
    if not is_quantized(spec.precision):
        return None, val or sets.demo()
    given = sets.from_path(spec.calib) if spec.calib else sets.demo()
    if val:
        return sets.at_most(given, sets.MAX_CALIBRATION), val
    return sets.split(given)
