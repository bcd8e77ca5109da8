"""A trained student beside its teacher: how like its pictures are, what each costs, how long each takes here. Sees all
rooms, as pipeline.py does."""

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
from nstopt.bundle import InputShape, QualityInfo
from nstopt.calib import picture_sets as sets
from nstopt.calib.quality import judge
from nstopt.engines import load
from nstopt.errors import BuildError
from nstopt.export.contract import PictureModule
from nstopt.export.exporter import ExportSpec, export_net
from nstopt.export.to_onnx import to_onnx
from nstopt.gpu import facts as gpus
from nstopt.graph.cost import costs, total
from nstopt.graph.specialize import specialize
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
    """A net at one size as FP32 engine: multiply-adds of the exported graph a picture, in 10^9, and the median time."""

    net: str
    gmac: float
    latency_ms: float


class StudentComparison(NamedTuple):
    """`quality` is the student's against the teacher's pictures."""

    size: Size
    quality: QualityInfo
    teacher: Cost
    student: Cost


class Fitting(NamedTuple):
    """A student, and how long it is projected to take on the target, in INT8, at best and at worst."""

    student: StudentSpec
    projected: Projected


def fitting(student: StudentSpec, target: str, fps: float, size: Size) -> Fitting:
    """The widest student that is projected to reach `fps` at `size` in INT8 on the GPU `target`, even at worst.

    Raises DeviceError for an unknown GPU, BuildError if not even the narrowest student is fast enough.
    """
    gpu = gpus.gpu(target)

    @functools.cache
    def projected(width: int) -> Projected:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "student.onnx"
            onnx.save(_exported(replace(student, width=width), size), model)
            subject = Workload(f"student of width {width}", model, "int8", size, generation=gpu.architecture)
            return project(subject, of_gpu(gpu), gpu_efficiency(gpu, "int8"), target)

    # From wide to narrow: all that are too slow, then all that are fast enough.
    first = bisect.bisect_left(WIDTHS, True, key=lambda width: projected(width).high_ms <= 1000 / fps)
    if first == len(WIDTHS):
        raise BuildError(
            f"a student of width {WIDTHS[-1]} at {size} is projected to take up to {projected(WIDTHS[-1]).high_ms:.1f} "
            f"ms on a {gpu.title}, but {fps:g} FPS leave {1000 / fps:.1f} ms: lower --fps or --res, or give fewer "
            "--blocks"
        )
    return Fitting(replace(student, width=WIDTHS[first]), projected(WIDTHS[first]))


def _exported(student: StudentSpec, size: Size) -> onnx.ModelProto:
    """The graph of an untrained student: no time depends on weights. Of one size, which is traced faster."""
    plan, family = student.plan(), johnson.FAMILY
    module = initialized(plan.module, 0, torch.device("cpu")).eval()
    net = Net(family.name, plan.widths, plan.blocks, module, family.convention, family.multiple, "")
    return to_onnx(PictureModule(net), size)


def compare(
    teacher: Path, student: Path, size: Size, val: Path | None, progress: Progress, **teacher_options: Any
) -> StudentComparison:
    """Export both, build FP32 engines, compare the pictures of the folder `val` (by default scikit-image's
    photographs), and time both in turns. Raises what exporting, building and timing raise."""
    pictures = sets.at_most(sets.from_folder(val), sets.MAX_VALIDATION) if val else sets.demo()
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
