"""Choose a student's width for a target GPU; compare a trained student with its teacher in pictures, cost and speed."""

from __future__ import annotations

import bisect
import functools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch

from nstopt.bench.cases import plan_cases
from nstopt.bench.harness import BenchSpec, run
from nstopt.calib import picture_sets
from nstopt.calib.quality import judge
from nstopt.engines import load
from nstopt.errors import BuildError
from nstopt.export.contract import PictureModule
from nstopt.export.exporter import ExportSpec, export_net
from nstopt.export.to_onnx import to_onnx
from nstopt.gpu import facts
from nstopt.graph.cost import costs, total
from nstopt.graph.specialize import specialize
from nstopt.manifest import InputShape, QualityInfo
from nstopt.nets import Net, johnson
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec
from nstopt.progress import Progress
from nstopt.projection.model import Workload, gpu_efficiency, of_gpu, project
from nstopt.runs.projected import Projected
from nstopt.train.distill import StudentSpec
from nstopt.train.initialize import initialized

WIDTHS = (32, 24, 16, 12, 8, 6, 4)


class Cost(NamedTuple):
    """Cost of a net at one size as FP32 engine: 10^9 multiply-adds per picture, and the median latency in ms."""

    net: str
    gmac: float
    latency_ms: float


class StudentComparison(NamedTuple):
    """A student compared with its teacher; `quality` is that of its pictures against the teacher's."""

    size: Size
    quality: QualityInfo
    teacher: Cost
    student: Cost


class Fitting(NamedTuple):
    """A student, and its projected INT8 latency on the target, at best and at worst."""

    student: StudentSpec
    projected: Projected


def fitting(student: StudentSpec, target: str, fps: float, size: Size) -> Fitting:
    """Return the widest student that is projected to reach `fps` at `size` in INT8 on the GPU `target`, even at worst.

    `student` gives the architecture; its width is replaced. Raises DeviceError if the GPU is unknown, BuildError if
    even the narrowest student is too slow.
    """
    gpu = facts.gpu(target)

    @functools.cache
    def projected(width: int) -> Projected:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "student.onnx"
            onnx.save(_exported(replace(student, width=width), size), model)
            subject = Workload(f"student of width {width}", model, "int8", size, generation=gpu.architecture)
            return project(subject, of_gpu(gpu), gpu_efficiency(gpu, "int8"), target)

    # WIDTHS goes from wide to narrow: first the students that are too slow, then those that are fast enough.
    first = bisect.bisect_left(WIDTHS, True, key=lambda width: projected(width).high_ms <= 1000 / fps)
    if first == len(WIDTHS):
        raise BuildError(
            f"a student of width {WIDTHS[-1]} at {size} is projected to take up to {projected(WIDTHS[-1]).high_ms:.1f} "
            f"ms on a {gpu.title}, but {fps:g} FPS leave {1000 / fps:.1f} ms: lower --fps or --res, or give fewer "
            "--blocks"
        )
    return Fitting(replace(student, width=WIDTHS[first]), projected(WIDTHS[first]))


def _exported(student: StudentSpec, size: Size) -> onnx.ModelProto:
    """Export an untrained student, as latency does not depend on weights; for one size, which is traced faster."""
    blueprint, family = student.blueprint(), johnson.FAMILY
    module = initialized(blueprint.module, 0, torch.device("cpu")).eval()
    net = Net(family.name, blueprint.widths, blueprint.blocks, module, family.convention, family.multiple, "")
    return to_onnx(PictureModule(net), size)


def compare(
    teacher: Path, student: Path, size: Size, val: Path | None, progress: Progress, **teacher_options: Any
) -> StudentComparison:
    """Export both nets, build FP32 engines, compare their pictures, and time both in turns.

    The pictures are made of the photographs in the folder `val`, by default of scikit-image's. `teacher_options` are
    fields of ExportSpec. Raises NstoptError if an export, a build or a run fails.
    """
    pictures = (
        picture_sets.at_most(picture_sets.from_folder(val), picture_sets.MAX_VALIDATION) if val else picture_sets.demo()
    )
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
    return StudentComparison(size, quality, *found)


class _Built(NamedTuple):
    path: Path
    gmac: float


def _built(net: Path, stem: Path, size: Size, options: dict[str, Any], progress: Progress) -> _Built:
    exported = export_net(ExportSpec(net, stem.with_suffix(".onnx"), size=size, **options), progress)
    bundle = build_engine(BuildSpec(exported.onnx, stem.parent, sizes=Sizes(size)), progress)
    graph = specialize(onnx.load(exported.onnx), InputShape.of(1, size))
    return _Built(bundle.path, total(costs(graph)).macs / 1e9)
