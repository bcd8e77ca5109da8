"""A net → the engines that a sweep over sizes, precisions, backends and batches needs; missing ones are built.

An existing engine is kept if its fingerprint is up to date (fingerprint.py), so an interrupted sweep continues where it
stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nstopt import engines
from nstopt.errors import BuildError, CheckpointError, DeviceError
from nstopt.export.metadata import read_info
from nstopt.export.onnx_file import fulfills_contract, read_onnx
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.fingerprint import is_engine_up_to_date, is_export_up_to_date
from nstopt.pipeline.spec import DEFAULT_PSNR_DB, BuildSpec, require_calibration
from nstopt.precisions import is_quantized, require_known
from nstopt.progress import Progress, Silent

ALL = "all"
T = TypeVar("T")


@dataclass(frozen=True)
class SweepSpec:
    """The engines to build from `net`, a checkpoint or an ONNX export, in `folder`: one per combination.

    `backends` is a list of names or ("all",). With "all", combinations that a backend cannot do or that this machine
    cannot run are left out and named. `net_options` are those of `nets.load_net`.
    """

    net: Path
    folder: Path
    sizes: Sequence[Size]
    precisions: Sequence[str] = ("fp32",)
    backends: Sequence[str] = ("openvino",)
    batches: Sequence[int] = (1,)
    calib: Path | None = None
    val: Path | None = None
    min_psnr_db: float = DEFAULT_PSNR_DB
    net_options: Mapping[str, Any] = field(default_factory=dict)


class Swept(NamedTuple):
    """The export, the engines in the order of the sweep, and what was left out and why."""

    model: Path
    bundles: tuple[Path, ...]
    left_out: tuple[str, ...]


def sweep(spec: SweepSpec, progress: Progress | None = None) -> Swept:
    """Export the net if needed, and build the missing engines.

    Raises what `export_net` and `build_engine` raise; CalibrationError, before anything is built, if INT8 lacks
    pictures.
    """
    progress = progress or Silent()
    pairs, left_out = _pairs(spec)
    model = export(
        spec.net, spec.folder, spec.net_options, any(backend == "torchscript" for backend, _ in pairs), progress
    )
    info = read_info(read_onnx(model), model)
    require_calibration(spec.net, spec.precisions, spec.calib, info, ", or leave int8 out of --precision")
    wanted = [_build_spec(spec, model, *one) for one in product(spec.sizes, spec.batches, pairs)]
    missing = [one for one in wanted if not is_engine_up_to_date(one, info)]
    absent: dict[str, str] = {}
    for number, one in enumerate(missing, start=1):
        if one.backend in absent:
            continue
        try:
            build_engine(one, _Numbered(progress, f"building {one.bundle_path().name} ({number} of {len(missing)})"))
        except (BuildError, DeviceError) as error:
            if tuple(spec.backends) != (ALL,) or is_quantized(one.precision):
                raise
            absent[one.backend] = f"{one.backend}: {error}"
    paths = tuple(one.bundle_path() for one in wanted if one.backend not in absent)
    return Swept(model, paths, (*left_out, *absent.values()))


def export(
    net: Path,
    folder: Path,
    options: Mapping[str, Any],
    with_torchscript: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Return the ONNX export of a net for any size, made in `folder` unless it is there and up to date.

    An ONNX file that fulfills the contract is its own export. Options other than the defaults get a file of their own.
    Raises CheckpointError or ExportError.
    """
    if not net.exists():
        raise CheckpointError(f"{net}: no such file; name a checkpoint, an ONNX file or an engine bundle")
    if net.suffix == ".onnx" and fulfills_contract(read_onnx(net)):
        return net
    from nstopt.export.exporter import ExportSpec, export_net  # here, because exporting alone needs torch

    said = {name: value for name, value in options.items() if value not in (None, (), 1.0)}
    mark = f"-{hashlib.sha256(repr(sorted(said.items())).encode()).hexdigest()[:8]}" if said else ""
    model = folder / f"{net.stem}{mark}.onnx"
    files = [model, model.with_suffix(".ts")] if with_torchscript else [model]
    if not is_export_up_to_date(files, net, options):
        script = model.with_suffix(".ts") if with_torchscript else None
        export_net(ExportSpec(net, model, script, **options), progress)
    return model


def _pairs(spec: SweepSpec) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the (backend, precision) pairs to build, and what is left out of "all".

    Raises BuildError for an unknown precision or backend.
    """
    for precision in spec.precisions:
        require_known(precision)
    if tuple(spec.backends) != (ALL,):
        for name in spec.backends:
            engines.backend(name)
        return list(product(spec.backends, spec.precisions)), []
    left_out = []
    pairs = []
    for name in engines.BACKENDS:
        try:
            able = engines.backend(name).capabilities.precisions
        except DeviceError as error:
            left_out.append(f"{name}: {error}")
            continue
        for precision in spec.precisions:
            if precision in able:
                pairs.append((name, precision))
            else:
                left_out.append(f"{name} {precision}: the backend runs {', '.join(sorted(able))} only")
    return pairs, left_out


def _build_spec(spec: SweepSpec, model: Path, size: Size, batch: int, pair: tuple[str, str]) -> BuildSpec:
    backend, precision = pair
    return BuildSpec(
        model=model,
        folder=spec.folder,
        precision=precision,
        backend=backend,
        sizes=Sizes(size),
        batch=batch,
        calib=spec.calib,
        val=spec.val,
        min_psnr_db=spec.min_psnr_db,
    )


class _Numbered:
    """Progress that prefixes each step with the number of the engine being built."""

    def __init__(self, progress: Progress, prefix: str) -> None:
        self._progress = progress
        self._prefix = prefix

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        return self._progress.track(items, total, f"{self._prefix}: {description}")

    def step(self, description: str) -> None:
        self._progress.step(f"{self._prefix}: {description}")
