"""Advise what to deploy for a net, a GPU and a frame rate.

The advice names the size each precision reaches, memory, software, and what to change if nothing is fast enough. All of
it is projected (model.py), nothing is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nstopt.errors import BuildError
from nstopt.gpu.facts import Gpu
from nstopt.pictures.size import Size
from nstopt.precisions import is_quantized, parts
from nstopt.projection.model import Workload, gpu_efficiency, of_gpu, project
from nstopt.runs.figures import span
from nstopt.runs.projected import Projected

# From the largest to the smallest difference from the net's own pictures.
PRECISIONS = ("int8-fp16", "int8", "fp16", "fp32")
STEP = 16
SMALLEST, LARGEST = 64, 4096
# Two sizes that give the time at any other by a line: fixed work, and work for each pixel.
PROBES = (Size(256, 256), Size(768, 768))
# Steps above that line at which the search begins, since the line is not exact.
ABOVE = 2
# Memory of the CUDA context, the libraries' code and the kernels' workspace; a rule of thumb.
CONTEXT_MIB = 400
MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Question:
    """A question for a plan. `model` is an export for any size, `wanted` the size that the user has in mind."""

    net: str
    model: Path
    gpu: Gpu
    fps: float
    wanted: Size

    @property
    def budget_ms(self) -> float:
        return 1000 / self.fps

    @property
    def free_mib(self) -> float:
        """MiB that the GPU has for the net itself."""
        return self.gpu.memory_gib * MIB_PER_GIB - CONTEXT_MIB


class Reach(NamedTuple):
    """Sizes that a precision reaches.

    `sure` is the largest square that fits into memory and is fast enough even at the slow end of the projected range,
    `best` the same at the fast end, None if not even 64x64 is. `at_wanted` is the projection at the wanted size.
    """

    precision: str
    sure: Size | None
    best: Size | None
    at_wanted: Projected


class Advice(NamedTuple):
    """The answer: one reach for each precision worth building, and sentences for the user."""

    question: Question
    reaches: tuple[Reach, ...]
    sentences: tuple[str, ...]


def advise(question: Question) -> Advice:
    """Answer a question. Raises ExportError or BuildError if the net cannot be built for any size."""
    fast = [one for one in PRECISIONS if all(map(question.gpu.architecture.is_fast, parts(one)))]
    reaches = tuple(_reach(question, precision) for precision in fast)
    return Advice(question, reaches, tuple(_sentences(question, reaches)))


def _reach(question: Question, precision: str) -> Reach:
    probes = [_projected(question, precision, size) for size in PROBES]
    sure, best = (_largest(question, probes, end) for end in ("high_ms", "low_ms"))
    return Reach(precision, sure, best, _projected(question, precision, question.wanted))


def _projected(question: Question, precision: str, size: Size) -> Projected:
    workload = Workload(question.net, question.model, precision, size, generation=question.gpu.architecture)
    return project(workload, of_gpu(question.gpu), gpu_efficiency(question.gpu, precision), question.gpu.key)


def _largest(question: Question, probes: list[Projected], end: str) -> Size | None:
    """Find the largest square: start where lines through two sizes meet the limits, then check by projection."""
    by_time = _pixels_within(question.budget_ms, [getattr(one, end) for one in probes])
    by_memory = _pixels_within(question.free_mib, [one.memory_mib for one in probes])
    side = min((int(math.sqrt(max(min(by_time, by_memory), 0))) // STEP + ABOVE) * STEP, LARGEST)
    while side >= SMALLEST:
        found = _projected(question, probes[0].precision, Size(side, side))
        if getattr(found, end) <= question.budget_ms and _fits(question, found):
            return found.size
        side -= STEP
    return None


def _pixels_within(limit: float, values: list[float]) -> float:
    """Return the number of pixels at which the line through the values at PROBES reaches the limit."""
    pixels = [size.height * size.width for size in PROBES]
    slope = (values[1] - values[0]) / (pixels[1] - pixels[0])
    return (limit - values[0]) / slope + pixels[0]


def _fits(question: Question, projected: Projected) -> bool:
    return projected.memory_mib <= question.free_mib


def _sentences(question: Question, reaches: tuple[Reach, ...]) -> Iterator[str]:
    yield from (_reach_sentence(question, reach) for reach in reaches)
    yield from _slow_precisions(question.gpu)
    yield from _change(question, reaches)
    yield _software(question.gpu)


def _reach_sentence(question: Question, reach: Reach) -> str:
    name, there = _title(reach.precision), reach.at_wanted
    memory = f"{there.memory_mib:.0f} MiB and about {CONTEXT_MIB} MiB for CUDA, of {question.gpu.memory_gib:g} GiB"
    at = (
        f"at {question.wanted} it would take {span(there.low_ms, there.high_ms)} ms "
        f"({span(1000 / there.high_ms, 1000 / there.low_ms)} FPS) and at least {memory}"
    )
    if not _fits(question, there):
        at += ", which is not enough"
    if reach.best is None:
        return f"{name}: no size from {SMALLEST}x{SMALLEST} on reaches {question.fps:g} FPS; {at}."
    sure = f"up to {_both(reach.sure)} on the safe side" if reach.sure else "no size on the safe side"
    return f"{name}: {question.fps:g} FPS {sure}, up to {_both(reach.best)} at best; {at}."


def _title(precision: str) -> str:
    """Format a precision for a sentence: `int8-fp16` → INT8 with FP16."""
    return " with ".join(part.upper() for part in parts(precision))


def _both(size: Size) -> str:
    """Format a square together with a 16:9 frame that has about as many pixels."""
    height = int(math.sqrt(size.height * size.width * 9 / 16)) // 8 * 8
    and_more = " or more" if size.height == LARGEST else ""
    return f"{size}{and_more} (as video: {height}x{height * 16 // 9 // 8 * 8}{and_more})"


def _slow_precisions(gpu: Gpu) -> Iterator[str]:
    for precision in PRECISIONS:
        if len(parts(precision)) == 1 and not gpu.architecture.is_fast(precision):
            rate = gpu.architecture.speed_up(precision)
            share = f"1/{round(1 / rate)}" if rate < 1 else f"{rate:g} times"
            yield f"{precision.upper()}: not worth building, {gpu.title} multiplies it at {share} of its FP32 rate."


def _change(question: Question, reaches: tuple[Reach, ...]) -> Iterator[str]:
    """Recommend a precision for the wanted size, or less work, or fewer pixels."""
    at = f"{question.wanted} at {question.fps:g} FPS"
    fitting = [reach for reach in reaches if _fits(question, reach.at_wanted)]
    if not fitting:
        found = [reach.best for reach in reaches if reach.best]
        smaller = f": go down to {max(found)}" if found else ""
        yield f"So for {at}: no precision fits into {question.gpu.memory_gib:g} GiB{smaller}."
        return
    fastest = min(fitting, key=lambda reach: reach.at_wanted.high_ms)
    low, high, name = fastest.at_wanted.low_ms, fastest.at_wanted.high_ms, _title(fastest.precision)
    if high <= question.budget_ms:
        closer = [
            _title(reach.precision)
            for reach in fitting[fitting.index(fastest) + 1 :]
            if reach.at_wanted.high_ms <= question.budget_ms and not is_quantized(reach.precision)
        ]
        too = f" {' and '.join(closer)} would be fast enough too, with pictures closer to the net's." if closer else ""
        yield f"So for {at}: build {name}.{too}"
        return
    times = high / question.budget_ms
    hope = "may be fast enough, but that is not certain" if low <= question.budget_ms else "is too slow"
    smaller = f"go down to {fastest.sure}, or " if fastest.sure else ""
    yield (
        f"So for {at}: {name} {hope}. To be sure, {smaller}distill a net that takes {times:.1f} times less "
        f"(widths at about {1 / math.sqrt(times):.0%}): nstopt distill NET --target {question.gpu.key} "
        f"--fps {question.fps:g} --res {question.wanted}."
    )


def _software(gpu: Gpu) -> str:
    kind = gpu.architecture
    if kind.tensorrt_last:
        what = f"TensorRT {kind.tensorrt_last}, the last line for {kind.title}"
    else:
        what = f"the current TensorRT ({kind.tensorrt_first} or newer)"
    cuda = f", with CUDA up to {kind.cuda_last}" if kind.cuda_last else ""
    return f"Install {what}{cuda}; `nstopt doctor --target {gpu.key}` has the commands."


def check_free_size(model: Path) -> None:
    """Raise BuildError if the export is for one size only."""
    from nstopt.export.onnx_file import read_onnx

    dims = read_onnx(model).graph.input[0].type.tensor_type.shape.dim
    if dims[1].dim_value or dims[2].dim_value:
        raise BuildError(f"{model}: exported for one size; a plan looks at many: export again without --res")
