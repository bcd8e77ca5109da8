"""What a plan says, and that its sizes are the largest that fit."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from nstopt.errors import BuildError
from nstopt.gpu import facts as gpus
from nstopt.pictures.size import Size
from nstopt.projection.model import GPU_FP32, Workload, gpu_efficiency, of_gpu, project
from nstopt.projection.plan import STEP, Advice, Question, advise, check_free_size

WANTED = Size(512, 512)


@functools.cache
def ask(model: Path, target: str, fps: float, wanted: Size = WANTED) -> Advice:
    return advise(Question("tiny", model, gpus.gpu(target), fps, wanted))


def test_the_sizes_are_the_largest_that_meet_the_rate(tiny_onnx: Path) -> None:
    gpu = gpus.gpu("gtx-1060")
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


def test_what_is_said_of_a_gtx_1060(tiny_onnx: Path) -> None:
    text = "\n".join(ask(tiny_onnx, "gtx-1060", 120).sentences)
    assert "INT8: 120 FPS up to" in text
    assert "FP16: not worth building, GeForce GTX 1060 6 GB multiplies it at 1/64 of its FP32 rate." in text
    assert "Install TensorRT 8.6, the last line for Pascal, with CUDA up to 12.9" in text
    assert "So for 512x512 at 120 FPS: build INT8." in text


def test_what_is_not_reached_says_what_to_change(tiny_onnx: Path) -> None:
    text = "\n".join(ask(tiny_onnx, "gtx-1050ti", 1000, Size(1080, 1920)).sentences)
    assert "INT8 does not do. To be sure, " in text
    assert "distill a net that takes" in text
    assert "nstopt distill NET --target gtx-1050ti --fps 1000 --res 1080x1920" in text


def test_no_size_is_larger_than_the_memory_allows(tiny_onnx: Path) -> None:
    wide = Size(8192, 16384)
    advice = ask(tiny_onnx, "gtx-1060-3gb", 0.1, wide)
    text = "\n".join(advice.sentences)
    for reach in advice.reaches:
        assert reach.best is not None
        assert reach.at_wanted.memory_mib > advice.question.free_mib
        assert "of 3 GiB, which is not enough." in text
    assert f"So for {wide} at 0.1 FPS: no precision fits into 3 GiB: go down to " in text
    small = replace(advice.question, gpu=msgspec.structs.replace(gpus.gpu("gtx-1060-3gb"), memory_gib=0.5))
    for reach in advise(small).reaches:
        assert reach.best is not None
        there = _at(tiny_onnx, reach.precision, reach.best)
        beyond = _at(tiny_onnx, reach.precision, Size(reach.best.height + STEP, reach.best.width + STEP))
        assert there <= small.free_mib < beyond


def _at(model: Path, precision: str, size: Size) -> float:
    device = of_gpu(gpus.gpu("gtx-1060-3gb"))
    return project(Workload("tiny", model, precision, size), device, GPU_FP32, "").memory_mib


def test_the_largest_size_that_is_looked_at_is_not_called_the_largest_there_is(tiny_onnx: Path) -> None:
    assert "FP32: 0.1 FPS up to 4096x4096 or more (as video: 3072x5456 or more)" in "\n".join(
        ask(tiny_onnx, "h100", 0.1).sentences
    )


def test_a_newer_gpu_has_more_precisions_and_no_last_tensorrt(tiny_onnx: Path) -> None:
    advice = ask(tiny_onnx, "rtx-3060", 60)
    assert [reach.precision for reach in advice.reaches] == ["int8-fp16", "int8", "fp16", "fp32"]
    assert "Install the current TensorRT (8.5 or newer)" in advice.sentences[-1]
    assert (
        "build INT8 with FP16. FP16 and FP32 would do too, with pictures closer to the net's." in advice.sentences[-2]
    )


def test_an_export_of_one_size_is_refused(tiny_onnx: Path, tiny_fixed_onnx: Path) -> None:
    check_free_size(tiny_onnx)
    with pytest.raises(BuildError, match=r"exported for one size; .* export again without --res"):
        check_free_size(tiny_fixed_onnx)
