"""The fastest engine of a net: who is timed, who is left out and why, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL

from nstopt.bench import fastest
from nstopt.bench.fastest import Contender, build_fastest, reasons
from nstopt.bundle import open_bundle
from nstopt.engines.openvino import core
from nstopt.engines.openvino_bf16 import is_native
from nstopt.errors import BuildError
from nstopt.pictures.size import Sizes
from nstopt.pipeline.spec import BuildSpec


@pytest.fixture
def spec(tiny_onnx: Path, photos: Path, tmp_path: Path) -> BuildSpec:
    return BuildSpec(tiny_onnx, tmp_path, sizes=Sizes(SMALL), calib=photos, min_psnr_db=20)


def by_name(contenders: tuple[Contender, ...]) -> dict[str, Contender]:
    return {str(one): one for one in contenders}


def test_the_fastest_is_kept_and_every_other_has_a_reason(spec: BuildSpec) -> None:
    found = build_fastest(spec)
    kept = [one for one in found.contenders if not one.reason]
    assert [one.bundle for one in kept] == [found.bundle]
    assert open_bundle(found.bundle.path) == found.bundle
    assert found.bundle.path.parent == spec.folder
    timed = [one.latency_ms for one in found.contenders if one.latency_ms is not None]
    assert timed == sorted(timed)
    assert kept[0].latency_ms == min(one.latency_ms for one in found.contenders if one.latency_ms and one.quality)
    assert all(one.bundle is None for one in found.contenders if one.reason)
    assert [path.name for path in spec.folder.iterdir()] == [found.bundle.path.name]  # nothing else is left
    all_of_them = by_name(found.contenders)
    assert all_of_them["openvino fp16"].reason == "this device computes it in fp32"
    assert all_of_them["onnxruntime int8"].reason == "this device computes it in fp32"
    assert "reference" in all_of_them["torchscript fp32"].reason
    assert all_of_them["openvino fp32"].peak_mib
    assert ("openvino bf16" in all_of_them and bool(all_of_them["openvino bf16"].latency_ms)) == is_native(core())


def test_all_engines_that_are_good_enough_can_be_kept(spec: BuildSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest, "WORTH_CALIBRATING", 0.0)
    found = build_fastest(spec, keep_all=True)
    bundles = [one.bundle for one in found.contenders if one.bundle]
    assert {bundle.path for bundle in bundles} == set(spec.folder.iterdir())
    assert found.bundle in bundles
    contenders = by_name(found.contenders)
    assert contenders["openvino fp32"].bundle or contenders["onnxruntime fp32"].bundle
    assert contenders["openvino int8"].reason.startswith("not calibrated, since it is not faster than ")
    again = build_fastest(spec, keep_all=True)
    made = {bundle.path: bundle.manifest.created for bundle in bundles}
    kept = [one.bundle for one in again.contenders if one.bundle and one.bundle.path in made]
    assert kept or not is_native(core())  # FP32 alone may be faster on the other backend this time
    assert all(made[bundle.path] == bundle.manifest.created for bundle in kept)


def test_int8_without_pictures_is_left_out(spec: BuildSpec) -> None:
    found = build_fastest(replace(spec, calib=None))
    assert "INT8 needs pictures to find its ranges from" in by_name(found.contenders)["openvino int8"].reason


def test_a_quality_that_nothing_reaches(spec: BuildSpec) -> None:
    with pytest.raises(
        BuildError, match=r"tiny.onnx: no engine reaches 120 dB: .*fp32: the FP32 engine gives .*wanted 120"
    ):
        build_fastest(replace(spec, min_psnr_db=120, calib=None))
    assert not list(spec.folder.iterdir())


def test_one_size_and_one_batch_are_needed(spec: BuildSpec) -> None:
    for other in (replace(spec, sizes=Sizes()), replace(spec, batch=None)):
        with pytest.raises(BuildError, match="name them with --res and --batch"):
            build_fastest(other)


def test_equal_reasons_share_a_line() -> None:
    contenders = [Contender("a", "fp32"), Contender("a", "fp16", reason="slow"), Contender("a", "int8", reason="slow")]
    assert reasons([*contenders, Contender("b", "fp32", reason="slow")]) == ["a fp16, int8: slow", "b fp32: slow"]
