"""Plans: their sizes are the largest that fit, and their sentences follow from the projections."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from nstopt.errors import BuildError
from nstopt.gpu import facts
from nstopt.pictures.size import Size
from nstopt.projection.model import GPU_FP32, Workload, gpu_efficiency, of_gpu, project
from nstopt.projection.plan import STEP, Advice, Question, advise, check_free_size

WANTED = Size(512, 512)


@functools.cache
def ask(model: Path, target: str, fps: float, wanted: Size = WANTED) -> Advice:
    return advise(Question("tiny", model, facts.gpu(target), fps, wanted))


def test_the_sizes_are_the_largest_that_meet_the_rate(tiny_onnx: Path) -> None:
    gpu = facts.gpu("gtx-1060")
    for reach in ask(tiny_onnx, "gtx-1060", 120).reaches:
        for size, end in ((reach.sure, "high_ms"), (reach.best, "low_ms")):
            assert size is not None
            next_size = Size(size.height + STEP, size.width + STEP)
            here, there = (
                getattr(
                    project(
                        Workload("tiny", tiny_onnx, reach.precision, one),
                        of_gpu(gpu),
                        gpu_efficiency(gpu, reach.precision),
                        "",
                    ),
                    end,
                )
                for one in (size, next_size)
            )
            assert here <= 1000 / 120 < there


def test_the_sentences_for_a_gtx_1060(tiny_onnx: Path) -> None:
    advice = ask(tiny_onnx, "gtx-1060", 120)
    assert [reach.precision for reach in advice.reaches] == ["int8", "fp32"]
    for sentence, reach in zip(advice.sentences, advice.reaches, strict=False):
        assert sentence.startswith(f"{reach.precision.upper()}: 120 FPS up to {reach.sure} ")
        assert f", up to {reach.best} " in sentence
        assert f"at least {reach.at_wanted.memory_mib:.0f} MiB" in sentence
    assert advice.sentences[2:] == (
        "FP16: not worth building, GeForce GTX 1060 6 GB multiplies it at 1/64 of its FP32 rate.",
        "So for 512x512 at 120 FPS: build INT8. FP32 would be fast enough too, with pictures closer to the net's.",
        "Install TensorRT 8.6, the last line for Pascal, with CUDA up to 12.9; "
        "`nstopt doctor --target gtx-1060` has the commands.",
    )


def test_a_rate_that_is_not_reached_comes_with_what_to_change(tiny_onnx: Path) -> None:
    advice = ask(tiny_onnx, "gtx-1050ti", 1000, Size(1080, 1920))
    int8 = advice.reaches[0]
    assert int8.at_wanted.low_ms > 1  # milliseconds that a frame has
    times = int8.at_wanted.high_ms
    smaller = f"go down to {int8.sure}, or " if int8.sure else ""
    assert advice.sentences[-2] == (
        f"So for 1080x1920 at 1000 FPS: INT8 is too slow. To be sure, {smaller}distill a net that takes {times:.1f} "
        f"times less (widths at about {times**-0.5:.0%}): "
        "nstopt distill NET --target gtx-1050ti --fps 1000 --res 1080x1920."
    )


def test_no_size_is_larger_than_the_memory_allows(tiny_onnx: Path) -> None:
    wide = Size(8192, 16384)
    advice = ask(tiny_onnx, "gtx-1060-3gb", 0.1, wide)
    text = "\n".join(advice.sentences)
    for reach in advice.reaches:
        assert reach.best is not None
        assert reach.at_wanted.memory_mib > advice.question.free_mib
        assert "of 3 GiB, which is not enough." in text
    assert f"So for {wide} at 0.1 FPS: no precision fits into 3 GiB: go down to " in text
    small = replace(advice.question, gpu=msgspec.structs.replace(facts.gpu("gtx-1060-3gb"), memory_gib=0.5))
    for reach in advise(small).reaches:
        assert reach.best is not None
        there = _at(tiny_onnx, reach.precision, reach.best)
        beyond = _at(tiny_onnx, reach.precision, Size(reach.best.height + STEP, reach.best.width + STEP))
        assert there <= small.free_mib < beyond


def _at(model: Path, precision: str, size: Size) -> float:
    device = of_gpu(facts.gpu("gtx-1060-3gb"))
    return project(Workload("tiny", model, precision, size), device, GPU_FP32, "").memory_mib


def test_the_end_of_the_search_is_marked_as_such(tiny_onnx: Path) -> None:
    assert "FP32: 0.1 FPS up to 4096x4096 or more (as video: 3072x5456 or more)" in "\n".join(
        ask(tiny_onnx, "h100", 0.1).sentences
    )


def test_a_newer_gpu_has_more_precisions_and_no_last_tensorrt(tiny_onnx: Path) -> None:
    advice = ask(tiny_onnx, "rtx-3060", 60)
    assert [reach.precision for reach in advice.reaches] == ["int8-fp16", "int8", "fp16", "fp32"]
    assert "Install the current TensorRT (8.5 or newer)" in advice.sentences[-1]
    assert advice.sentences[-2] == (
        "So for 512x512 at 60 FPS: build INT8 with FP16. "
        "FP16 and FP32 would be fast enough too, with pictures closer to the net's."
    )


def test_an_export_of_one_size_is_refused(tiny_onnx: Path, tiny_fixed_onnx: Path) -> None:
    check_free_size(tiny_onnx)
    with pytest.raises(BuildError, match=r"exported for one size; .* export again without --res"):
        check_free_size(tiny_fixed_onnx)
