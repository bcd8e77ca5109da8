"""ONNX → bundle: what is taken, what is written, and what the bundle says of itself."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from conftest import SMALL, int8_spec, noise, write_video
from made import inverter
from nets import layouts
from onnx import numpy_helper

import nstopt
from nstopt import engines
from nstopt.bundle import Bundle, open_bundle
from nstopt.calib.picture_sets import from_folder, split
from nstopt.engines.openvino import core
from nstopt.engines.openvino_bf16 import is_native
from nstopt.errors import BuildError, CalibrationError, ExportError
from nstopt.export.exporter import ExportSpec, export_net
from nstopt.manifest import InputShape, NetInfo
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline import build
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec


def test_what_a_bundle_says_of_itself(
    int8_bundle: Bundle, tiny_onnx: Path, tiny_checkpoint: Path, photos: Path
) -> None:
    manifest = open_bundle(int8_bundle.path).manifest
    source = hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    assert int8_bundle.path == tiny_onnx.with_name("tiny-48x64-int8.nst")
    assert manifest.net == NetInfo("tiny", "johnson", layouts.WIDTHS, 1, source)
    assert manifest.shape == InputShape.of(1, SMALL)
    assert manifest.precision.layers
    assert set(manifest.precision.layers.values()) <= {"int8", "int8-out"}
    calibration, held_out = split(from_folder(photos))
    assert manifest.calibration
    assert (manifest.calibration.sha256, manifest.calibration.pictures) == (calibration.sha256, 5)
    assert manifest.quality
    assert manifest.quality.pictures == len(held_out.pictures) == 1
    assert 30 < manifest.quality.psnr_db_worst <= manifest.quality.psnr_db_mean < 100
    assert 0.9 < manifest.quality.ssim_worst <= manifest.quality.ssim_mean < 1


def test_a_build_can_be_repeated(int8_bundle: Bundle, tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    """The same pictures give the same engine; only what was measured in milliseconds differs."""
    again = build_engine(int8_spec(tiny_onnx, tmp_path, photos)).manifest
    first = int8_bundle.manifest
    same = msgspec.structs.replace(
        again, created=first.created, files=first.files, search=first.search, rival=first.rival
    )
    assert same == first
    with nstopt.load(int8_bundle.path) as left, nstopt.load(tmp_path / "tiny-48x64-int8.nst") as right:
        np.testing.assert_array_equal(left(noise(*SMALL)), right(noise(*SMALL)))


def test_pictures_to_judge_by_leave_all_others_for_calibration(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    shutil.copyfile(photos / "0.png", tmp_path / "val" / "other.png")
    spec = int8_spec(tiny_onnx, tmp_path, photos, val=tmp_path / "val")
    manifest = build_engine(spec).manifest
    assert manifest.calibration
    assert manifest.calibration.pictures == 6
    assert manifest.quality
    assert (manifest.quality.source, manifest.quality.pictures) == (str(tmp_path / "val"), 1)


def test_fp32_is_the_net_itself(any_size_bundle: Bundle) -> None:
    quality = any_size_bundle.manifest.quality
    assert quality
    assert quality.max_gray_levels <= 1
    assert quality.psnr_db_worst > 50
    assert any_size_bundle.path.name == "tiny-dynamic-fp32.nst"


def test_int8_of_a_batch(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    bundle = build_engine(int8_spec(tiny_onnx, tmp_path, photos, batch=2))
    assert bundle.path.name == "tiny-48x64-int8-b2.nst"
    with nstopt.load(bundle.path) as engine:
        assert engine(np.stack([noise(*SMALL)] * 2)).shape == (2, *SMALL, 3)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "net-512x512-fp32.nst"),
        ({"sizes": Sizes(Size(480, 640)), "precision": "int8"}, "net-480x640-int8.nst"),
        ({"precision": "int8-fp16", "backend": "tensorrt"}, "net-512x512-int8-fp16-tensorrt.nst"),
        ({"backend": "tensorrt", "tf32": True}, "net-512x512-fp32-tensorrt-tf32.nst"),
        ({"sizes": Sizes(), "backend": "onnxruntime", "batch": 4}, "net-dynamic-fp32-b4-onnxruntime.nst"),
    ],
)
def test_names(fields: dict[str, object], name: str) -> None:
    spec = BuildSpec(Path("a/net.onnx"), Path("out"), **fields)  # type: ignore[arg-type]
    assert spec.bundle_path() == Path("out") / name


def test_a_graph_of_one_size(tiny_fixed_onnx: Path, photos: Path, tmp_path: Path) -> None:
    for sizes, asked in ((Sizes(Size(64, 64)), "64x64"), (Sizes(), "any size")):
        with pytest.raises(
            BuildError, match=rf"exported for 33x50, not for {asked}; build with --res 33x50, or export"
        ):
            build_engine(BuildSpec(tiny_fixed_onnx, tmp_path, sizes=sizes, val=photos))
    bundle = build_engine(BuildSpec(tiny_fixed_onnx, tmp_path, sizes=Sizes(Size(33, 50)), val=photos))
    assert bundle.manifest.shape.sizes.only == (33, 50)


def test_a_graph_of_one_batch(photos: Path, tmp_path: Path) -> None:
    onnx.save(inverter(InputShape.of(1, None)), tmp_path / "net.onnx")
    spec = BuildSpec(tmp_path / "net.onnx", tmp_path, sizes=Sizes(SMALL), val=photos)
    assert build_engine(spec).manifest.shape.batch == 1
    with pytest.raises(BuildError, match=r"net\.onnx: this graph takes 1 pictures at a time; build with --batch 1"):
        build_engine(BuildSpec(spec.model, tmp_path, sizes=Sizes(SMALL), batch=2, val=photos))


def test_a_graph_that_nstopt_did_not_export(photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    onnx.save(inverter(InputShape.of(None, None)), model)
    bundle = build_engine(BuildSpec(model, tmp_path, sizes=Sizes(SMALL), val=photos))
    assert bundle.manifest.net == NetInfo("net", "custom", (), 0, hashlib.sha256(model.read_bytes()).hexdigest())
    with nstopt.load(bundle.path) as engine:
        np.testing.assert_array_equal(engine(noise(*SMALL)), 255 - noise(*SMALL))


def test_notes_that_are_damaged(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_onnx)
    onnx.helper.set_model_props(model, {"nstopt.export": "nonsense"})
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ExportError, match=r"net\.onnx: nstopt's metadata in it is damaged"):
        build_engine(BuildSpec(tmp_path / "net.onnx", tmp_path, sizes=Sizes(SMALL), val=photos))


def test_the_torchscript_file_of_another_export_is_not_taken(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copyfile(tiny_onnx, tmp_path / "tiny.onnx")
    spec = BuildSpec(tmp_path / "tiny.onnx", tmp_path, backend="torchscript", sizes=Sizes(SMALL), val=photos)
    (tmp_path / "tiny.ts").write_bytes(b"another")
    with pytest.raises(BuildError, match="needs the TorchScript file of the same export beside the ONNX file"):
        build_engine(spec)
    shutil.copyfile(tiny_onnx.with_suffix(".ts"), tmp_path / "renamed.ts")
    assert build_engine(spec).manifest.files.keys() == {"model.ts"}


def test_what_cannot_be_asked_for(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="--tf32 is for FP32 engines of the tensorrt backend"):
        build_engine(BuildSpec(tiny_onnx, tmp_path, tf32=True))
    with pytest.raises(BuildError, match="the openvino backend writes no build log: leave --verbose out"):
        build_engine(BuildSpec(tiny_onnx, tmp_path, verbose=True))
    with pytest.raises(BuildError, match="unknown precision 'int4'; there are: fp32, bf16, fp16, int8"):
        build_engine(BuildSpec(tiny_onnx, tmp_path, precision="int4"))
    with pytest.raises(CalibrationError, match=r"tiny\.onnx: INT8 needs pictures"):
        build_engine(BuildSpec(tiny_onnx, tmp_path, precision="int8"))
    assert list(tmp_path.iterdir()) == []


def test_strict_builds_compute_in_the_types_of_the_graph(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    spec = BuildSpec(tiny_onnx, tmp_path, backend="onnxruntime", sizes=Sizes(SMALL), val=photos, strict=True)
    assert build_engine(spec).manifest.precision.computes == "fp32"
    with pytest.raises(BuildError, match="not built as the FP16 graph states: this device computes it in fp32; build"):
        build_engine(replace(spec, precision="fp16"))
    assert [path.name for path in tmp_path.glob("*.nst")] == ["tiny-48x64-fp32-onnxruntime.nst"]


def test_an_engine_too_far_from_fp32_is_not_written(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    spec = BuildSpec(tiny_onnx, tmp_path, precision="fp16", backend="onnxruntime", sizes=Sizes(SMALL), val=photos)
    with pytest.raises(
        BuildError, match=r"tiny\.onnx: the FP16 engine gives \d+\.\d dB mean .* wanted 99 and .* lower --min-psnr, or"
    ):
        build_engine(replace(spec, min_psnr_db=99))
    assert list(tmp_path.iterdir()) == []


def some(folder: Path, chosen: Path, count: int) -> Path:
    """A folder of the first pictures of another."""
    chosen.mkdir()
    for picture in sorted(folder.iterdir())[:count]:
        (chosen / picture.name).symlink_to(picture.resolve())
    return chosen


def test_building_needs_no_torch() -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, nstopt.pipeline.build; assert 'torch' not in sys.modules"], check=True
    )


@pytest.mark.shared
def test_a_real_net(shared_folder: Path, tmp_path: Path) -> None:
    size = Size(64, 80)
    done = export_net(ExportSpec(shared_folder / "nets" / "wave", tmp_path / "wave.onnx", size=size))
    assert (done.net.family, done.net.widths, done.net.blocks) == ("fast-style", (32, 64, 128), 5)
    calib, val = (
        some(shared_folder / "images" / name, tmp_path / name, count) for name, count in (("calib", 4), ("val", 2))
    )
    spec = BuildSpec(done.onnx, tmp_path, precision="int8", sizes=Sizes(size), calib=calib, val=val, min_psnr_db=30)
    bundle = build_engine(spec)
    quality = bundle.manifest.quality
    assert quality
    assert quality.pictures == 2
    assert quality.psnr_db_mean >= 30
    with nstopt.load(bundle.path) as engine:
        assert engine(noise(*size)).std() > 20


def test_symmetric_int8_on_a_cpu(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    """The symmetric scheme of TensorRT in ONNX Runtime: signed, zero points of 0, as close as with free zero points."""
    clip = write_video(tmp_path / "clip.mp4", [noise(*SMALL, seed) for seed in range(3)])
    spec = int8_spec(tiny_onnx, tmp_path, photos, backend="onnxruntime", symmetric=True, drift=clip)
    bundle = build_engine(spec)
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(bundle.file("model.onnx")).graph.initializer
    }
    zeros = [value for name, value in constants.items() if name.endswith("zero_point")]
    assert len(zeros) > 10
    assert all(value.dtype == np.int8 and not value.any() for value in zeros)
    assert sum(name.endswith("_offset") for name in constants) >= 5
    plain = build_engine(int8_spec(tiny_onnx, tmp_path, photos, backend="onnxruntime", output=tmp_path / "plain.nst"))
    quality, other, drift = bundle.manifest.quality, plain.manifest.quality, bundle.manifest.drift
    assert quality
    assert other
    assert drift
    assert abs(quality.psnr_db_mean - other.psnr_db_mean) < 1.5
    assert (drift.source, drift.frames) == (str(clip), 3)
    assert drift.flicker_psnr_db > 15
    assert bundle.manifest.calibration
    assert sum(bundle.manifest.calibration.coverage.values()) > 0


def test_an_int8_search_runs_on_the_judge(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that is slow to compile, such as TensorRT, builds the engine that was found, and nothing else."""
    backend = engines.backend("openvino")
    calls: list[str] = []
    monkeypatch.setattr(backend, "capabilities", replace(backend.capabilities, judge="onnxruntime"))
    monkeypatch.setattr(backend, "compile", lambda model, precision: calls.append("compile"))
    monkeypatch.setattr(backend, "measure", lambda models, precision, feed, rounds: calls.append("measure"))
    manifest = build_engine(int8_spec(tiny_onnx, tmp_path, photos, symmetric=True), find_rival=False).manifest
    assert calls == []
    assert len(manifest.search) > 3
    assert manifest.calibration
    assert manifest.calibration.judge.startswith("onnxruntime ")
    assert manifest.backend.name == "openvino"
    assert manifest.quality
    found = max(one.psnr_db_mean for one in manifest.search)
    assert manifest.quality.psnr_db_mean > found - 3


@pytest.mark.skipif(not is_native(core()), reason="this CPU has no BF16 arithmetic")
@pytest.mark.parametrize(("bf16_ms", "int8_ms"), [(1.0, 2.0), (2.0, 1.0)])
def test_an_int8_engine_names_the_bf16_engine_that_beats_it(
    tiny_onnx: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16_ms: float, int8_ms: float
) -> None:
    monkeypatch.setattr(build, "take_turns", lambda runs: [bf16_ms, int8_ms])
    manifest = build_engine(int8_spec(tiny_onnx, tmp_path, photos)).manifest
    assert manifest.quality
    if bf16_ms > int8_ms:
        assert manifest.rival is None
    else:
        assert manifest.rival
        assert (manifest.rival.precision, manifest.rival.latency_ms, manifest.rival.int8_latency_ms) == (
            "bf16",
            1.0,
            2.0,
        )
        assert manifest.rival.psnr_db_mean > manifest.quality.psnr_db_mean
    assert build_engine(int8_spec(tiny_onnx, tmp_path, photos), find_rival=False).manifest.rival is None
