"""Rows of `nstopt inspect` and lines of `nstopt build-engine`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nstopt.bundle import Bundle
from nstopt.cli.render.bundle import build_notes, bundle_rows
from nstopt.manifest import (
    BackendInfo,
    CalibrationInfo,
    DriftInfo,
    InputShape,
    Manifest,
    NetInfo,
    PrecisionInfo,
    QualityInfo,
    RivalInfo,
)
from nstopt.pictures.size import Size

FP32 = Manifest(
    format_version=2,
    net=NetInfo("wave", "johnson", (4, 6, 8), 1, "a" * 64),
    shape=InputShape.of(1, None),
    precision=PrecisionInfo("fp32", "fp32", {"a": "fp32", "b": "fp32"}),
    calibration=None,
    quality=None,
    backend=BackendInfo("openvino", "A CPU", {"openvino": "2026.1"}),
    files={"model.bin": "b" * 64, "model.xml": "c" * 64},
    created="2026-01-02T03:04:05Z",
)
INT8 = msgspec.structs.replace(
    FP32,
    shape=InputShape.of(4, Size(48, 64)),
    precision=PrecisionInfo("int8-fp16", "int8", {"a": "int8", "b": "int8", "c": "fp32"}),
    calibration=CalibrationInfo(
        "photos", "d" * 64, 5, "searched", {"dark": 2, "bright": 0, "flat": 3, "busy": 0}, "A judge"
    ),
    quality=QualityInfo("photos", 3, 41.51, 40.02, 0.9912, 0.9834, 7, 39.91, 42.13),
    drift=DriftInfo("clip.mp4", "e" * 64, 30, 38.21, 36.44, 44.06),
)


def test_an_int8_bundle() -> None:
    shown = dict(bundle_rows(Bundle(Path("wave.nst"), INT8)))
    assert shown["bundle"] == "wave.nst (format 2, every hash matches)"
    assert shown["net"] == "wave: johnson 4/6/8, 1 blocks"
    assert shown["pictures"] == "uint8 RGB, batch x height x width 4x48x64"
    assert shown["precision"] == "int8-fp16, computed in int8"
    assert shown["convolutions"] == "2 in int8, 1 in fp32"
    assert shown["calibrated on"] == "5 pictures of photos"
    assert shown["coverage"] == "2 dark, 0 bright, 3 flat, 0 busy"
    assert shown["judged on"] == "3 other pictures of photos, against FP32"
    assert shown["PSNR"] == "41.51 dB mean, 40.02 worst"
    assert shown["SSIM"] == "0.9912 mean, 0.9834 worst"
    assert shown["border"] == "39.91 dB, interior 42.13"
    assert shown["flicker"].startswith("44.06 dB")
    assert shown["backend"] == "openvino (openvino 2026.1) for A CPU"


def test_an_fp32_bundle_for_any_size() -> None:
    rows = bundle_rows(Bundle(Path("wave.nst"), FP32))
    assert ("pictures", "uint8 RGB, batch x height x width 1xanyxany") in rows
    assert not {"calibrated on", "coverage", "method", "judged on", "clip"} & dict(rows).keys()
    assert [value.split()[0] for name, value in rows if name == "file"] == ["model.bin", "model.xml"]


@pytest.mark.parametrize("has_border", [True, False])
def test_notes_of_a_build(has_border: bool) -> None:
    quality = INT8.quality if has_border else QualityInfo("photos", 3, 41.51, 40.02, 0.9912, 0.9834, 7)
    border = " (border 39.9, interior 42.1)" if has_border else ""
    assert build_notes(msgspec.structs.replace(INT8, quality=quality)) == [
        "calibrated on 5 pictures of photos",
        "note: none of them is bright or busy; add some if you will stylize such pictures",
        "note: the graph is int8-fp16, which this device computes in int8",
        "against FP32 on 3 other pictures of photos: "
        f"PSNR 41.5 dB mean, 40.0 worst{border}; SSIM 0.9912 mean, 0.9834 worst",
        "on 30 frames of clip.mp4: PSNR 38.2 dB mean, 36.4 worst; of the change from frame to frame 44.1",
    ]
    assert build_notes(FP32) == []


def test_an_int8_engine_that_bf16_beats_is_never_built_without_a_word() -> None:
    notes = build_notes(msgspec.structs.replace(INT8, rival=RivalInfo("bf16", 45.04, 49.96, 57.22, 55.1)))
    assert (
        "note: BF16 is faster here and closer to FP32: 45.0 against 50.0 ms, 57.2 against 41.5 dB; build it with --bf16"
        in notes
    )


def test_convolutions_in_other_types_than_the_graphs() -> None:
    differences = ("conv1 reads FP32, not INT8", "conv2 writes FP32, not FP16")
    manifest = msgspec.structs.replace(FP32, precision=PrecisionInfo("fp32", "fp32", {}, differences))
    assert build_notes(manifest) == [f"warning: not computed in the types of the graph: {'; '.join(differences)}"]
    rows = bundle_rows(Bundle(Path("net.nst"), manifest))
    assert [row for row in rows if row[0] == "computed otherwise"] == [
        ("computed otherwise", difference) for difference in differences
    ]
