"""A trained student beside its teacher: how like its pictures are, what each costs, how long each takes here. Sees all
rooms, as pipeline.py does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch

from nstopt.bench.cases import plan_cases
from nstopt.bench.harness import BenchSpec, run
from nstopt.bundle import QualityInfo, ShapeInfo
from nstopt.calib import pictures as sets
from nstopt.calib.quality import judge
from nstopt.engines import load
from nstopt.errors import BuildError
from nstopt.export.contract import PictureModule
from nstopt.export.exporter import ExportSpec, export_net
from nstopt.export.to_onnx import to_onnx
from nstopt.graph.cost import costs, total
from nstopt.graph.passes import rewrite
from nstopt.graph.specialise import specialise
from nstopt.nets import Net, johnson
from nstopt.pipeline import BuildSpec, build_engine
from nstopt.progress import Progress
from nstopt.size import Size
from nstopt.train.distill import StudentSpec
from nstopt.train.start import started

WIDTHS = (32, 24, 16, 12, 8, 6, 4)
ProjectedMs = Callable[[onnx.ModelProto, str], float]


class Cost(NamedTuple):
    """A net at one size as FP32 engine: multiply-adds of the exported graph a picture, in 10^9, and the median time."""

    net: str
    gmac: float
    latency_ms: float


class Compared(NamedTuple):
    """`quality` is the student's against the teacher's pictures."""

    size: Size
    quality: QualityInfo
    teacher: Cost
    student: Cost


def fitting_width(student: StudentSpec, target: str, fps: float, size: Size, projected_ms: ProjectedMs) -> StudentSpec:
    """The widest student that is projected to reach `fps` at `size` on `target`; `projected_ms` gives the
    milliseconds of a graph on a GPU by name. Raises BuildError if not even the narrowest does."""
    for width in WIDTHS:
        candidate = replace(student, width=width)
        latency_ms = projected_ms(_graph(candidate, size), target)
        if latency_ms <= 1000 / fps:
            return candidate
    raise BuildError(
        f"a student of width {WIDTHS[-1]} at {size} is projected to take {latency_ms:.1f} ms on {target}, but "
        f"{fps:g} FPS leave {1000 / fps:.1f} ms: lower --fps or --res, give fewer --blocks or a smaller --kernel"
    )


def _graph(student: StudentSpec, size: Size) -> onnx.ModelProto:
    plan = student.plan()
    module = started(plan.module, 0, torch.device("cpu"))
    net = Net(
        johnson.NAME, plan.widths, plan.blocks, module.eval(), johnson.FAMILY.convention, johnson.FAMILY.multiple, ""
    )
    model = specialise(to_onnx(PictureModule(net), size), ShapeInfo(1, *size))
    return rewrite(model, "tensorrt").model


def compare(
    teacher: Path, student: Path, size: Size, val: Path | None, progress: Progress, **teacher_options: Any
) -> Compared:
    """Export both, build FP32 engines, compare the pictures of the folder `val` (by default scikit-image's
    photographs), and time both in turns. Raises what exporting, building and timing raise."""
    pictures = sets.at_most(sets.from_folder(val), sets.MAX_JUDGED) if val else sets.demo()
    with tempfile.TemporaryDirectory() as folder:
        bundles = [
            _built(path, Path(folder) / name, size, options, progress)
            for name, path, options in (("teacher", teacher, teacher_options), ("student", student, {}))
        ]
        progress.step("comparing the student's pictures with the teacher's")
        with load(bundles[0].path) as wanted, load(bundles[1].path) as got:
            quality = judge(pictures.source, pictures.load(size), got, wanted)
        progress.step("timing both")
        records = list(run(plan_cases([bundle.path for bundle in bundles]), BenchSpec(interleave=True)))
        found = [
            Cost(path.name, bundle.gmac, record.latency_ms.p50)
            for path, bundle, record in zip((teacher, student), bundles, records, strict=True)
        ]
    return Compared(size, quality, *found)


class _Built(NamedTuple):
    path: Path
    gmac: float


def _built(net: Path, stem: Path, size: Size, options: dict[str, Any], progress: Progress) -> _Built:
    exported = export_net(ExportSpec(net, stem.with_suffix(".onnx"), size=size, **options), progress)
    bundle = build_engine(BuildSpec(exported.onnx, stem.parent, size=size), progress)
    graph = specialise(onnx.load(exported.onnx), ShapeInfo(1, *size))
    return _Built(bundle.path, total(costs(graph)).macs / 1e9)
