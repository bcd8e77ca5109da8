"""A sweep builds what is missing, and nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec
import onnx
import pytest
import torch

from nstopt.bundle import MANIFEST, open_bundle
from nstopt.errors import BuildError, CalibrationError, CheckpointError
from nstopt.export.metadata import read_info, write_info
from nstopt.export.onnx_file import read_onnx
from nstopt.files import sha256_file
from nstopt.pictures.size import Size
from nstopt.pipeline.ensure import SweepSpec, export, sweep

SMALL, WIDE = Size(32, 32), Size(24, 48)


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """One photograph to judge by."""
    folder = tmp_path_factory.mktemp("val")
    (folder / "0.png").write_bytes((photos / "0.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path, val: Path) -> SweepSpec:
    """A sweep over the tiny net's export, in one folder for all tests here."""
    return SweepSpec(tiny_onnx, tmp_path_factory.mktemp("out"), (SMALL,), val=val)


def test_missing_engines_are_built_and_others_taken(spec: SweepSpec) -> None:
    first = sweep(spec)
    assert [path.name for path in first.bundles] == ["tiny-32x32-fp32.nst"]
    built = (first.bundles[0] / MANIFEST).stat().st_mtime_ns
    both = sweep(replace(spec, sizes=(SMALL, WIDE)))
    assert [open_bundle(path).manifest.shape.sizes.only for path in both.bundles] == [SMALL, WIDE]
    assert (first.bundles[0] / MANIFEST).stat().st_mtime_ns == built
    assert both.model == spec.net


def test_a_checkpoint_is_exported_once_and_again_when_it_changes(
    tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    old = tmp_path / "tiny.onnx"
    old.write_bytes(tiny_onnx.read_bytes())
    os.utime(old, (1, 1))
    assert export(tiny_checkpoint, tmp_path, {}) == old
    made = old.stat().st_mtime_ns
    assert made > 1e9
    assert export(tiny_checkpoint, tmp_path, {"alpha": 1.0, "vgg": None}) == old
    assert old.stat().st_mtime_ns == made


def test_a_net_of_the_same_name_is_not_taken_for_the_other(
    tiny_checkpoint: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    other = tmp_path / "tiny.pth"
    state = torch.load(tiny_checkpoint, weights_only=True)
    torch.save({name: tensor * 0.5 for name, tensor in state.items()}, other)
    os.utime(other, (1, 1))
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx.read_bytes())
    model = export(other, tmp_path, {})
    info = read_info(read_onnx(model), model)
    assert info is not None
    assert info.net.source_sha256 == sha256_file(other)


def test_an_engine_of_another_net_is_built_again(spec: SweepSpec, tiny_onnx: Path, tmp_path: Path) -> None:
    (done,) = sweep(spec).bundles
    model = onnx.load(tiny_onnx)
    info = read_info(model, tiny_onnx)
    assert info is not None
    net = msgspec.structs.replace(info.net, source_sha256="f" * 64)
    write_info(model, msgspec.structs.replace(info, net=net))
    onnx.save(model, tmp_path / "tiny.onnx")
    assert sweep(replace(spec, net=tmp_path / "tiny.onnx")).bundles == (done,)
    assert open_bundle(done).manifest.net.source_sha256 == "f" * 64


def test_other_photographs_or_more_quality_than_an_engine_has_build_it_again(
    spec: SweepSpec, photos: Path, val: Path
) -> None:
    int8 = replace(spec, precisions=("int8",), calib=photos, min_psnr_db=20.0)
    (done,) = sweep(int8).bundles
    built = (done / MANIFEST).stat().st_mtime_ns
    sweep(int8)
    assert (done / MANIFEST).stat().st_mtime_ns == built
    for change in ({"calib": val}, {"val": photos}, {"min_psnr_db": 21.0}):
        sweep(replace(int8, **change))
        assert (done / MANIFEST).stat().st_mtime_ns > built
        built = (done / MANIFEST).stat().st_mtime_ns
    with pytest.raises(BuildError, match="wanted 101 and 97"):
        sweep(replace(spec, min_psnr_db=101.0))


def test_an_onnx_file_with_the_contract_is_its_own_export(tiny_onnx: Path, tmp_path: Path) -> None:
    assert export(tiny_onnx, tmp_path, {}) == tiny_onnx
    assert not list(tmp_path.iterdir())


def test_all_backends_leave_out_what_they_cannot_do(spec: SweepSpec) -> None:
    found = sweep(replace(spec, sizes=(Size(16, 16),), precisions=("fp32", "fp16"), backends=("all",)))
    made = {(m.backend.name, m.precision.asked) for m in (open_bundle(path).manifest for path in found.bundles)}
    assert made >= {(name, one) for name in ("openvino", "onnxruntime") for one in ("fp32", "fp16")}
    assert ("torchscript", "fp32") in made
    assert any(what.startswith("torchscript fp16: the backend runs fp32 only") for what in found.left_out)
    assert ("tensorrt", "fp32") in made or any(what.startswith("tensorrt: ") for what in found.left_out)


def test_a_backend_that_was_named_is_not_left_out(spec: SweepSpec) -> None:
    with pytest.raises(BuildError, match="the torchscript backend runs fp32 only, not fp16"):
        sweep(replace(spec, precisions=("fp16",), backends=("torchscript",)))


@pytest.mark.parametrize("precision", ["int8", "int8-fp16"])
def test_int8_without_photographs_is_an_error_before_anything_is_built(
    spec: SweepSpec, tmp_path: Path, precision: str
) -> None:
    with pytest.raises(CalibrationError, match=r"tiny.onnx: INT8 needs pictures .* or leave int8 out of --precision"):
        sweep(replace(spec, folder=tmp_path, precisions=("fp32", precision)))
    assert not list(tmp_path.glob("*.nst"))


def test_a_missing_net_is_named(spec: SweepSpec) -> None:
    with pytest.raises(CheckpointError, match=r"none.pth: no such file; name a checkpoint, an ONNX file or"):
        sweep(replace(spec, net=Path("none.pth")))
