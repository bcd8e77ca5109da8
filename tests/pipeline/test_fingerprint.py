"""A fingerprint covers everything that an engine's bytes depend on, and names tell different engines apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL, int8_spec

import nstopt
from nstopt.bundle import Bundle, open_bundle
from nstopt.engines.openvino import BACKEND
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.fingerprint import fingerprint, is_engine_up_to_date
from nstopt.pipeline.spec import BuildSpec, choose_pictures


@pytest.fixture
def spec(int8_bundle: Bundle, tiny_onnx: Path, photos: Path) -> BuildSpec:
    """The build of `int8_bundle`."""
    return int8_spec(tiny_onnx, tiny_onnx.parent, photos)


def test_the_same_build_is_up_to_date(spec: BuildSpec, int8_bundle: Bundle) -> None:
    assert is_engine_up_to_date(spec, None)
    stored = open_bundle(int8_bundle.path).manifest.fingerprint
    assert stored is not None
    assert stored.options["precision"] == "int8"
    assert stored.calibration_sha256


@pytest.mark.parametrize(
    "change",
    [
        {"symmetric": True},
        {"tune": True},
        {"min_psnr_db": 21.0},
        {"sizes": Sizes(Size(32, 48))},
        {"precision": "fp16"},
        {"batch": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_options_are_another_engine(spec: BuildSpec, int8_bundle: Bundle, change: dict[str, object]) -> None:
    """Even under the same name, which `output` forces here."""
    other = replace(spec, output=int8_bundle.path, **change)  # type: ignore[arg-type]
    assert not is_engine_up_to_date(other, None)


def test_other_pictures_are_another_engine(spec: BuildSpec, int8_bundle: Bundle, tmp_path: Path) -> None:
    for path in sorted(Path(str(spec.calib)).iterdir())[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert not is_engine_up_to_date(replace(spec, calib=tmp_path, output=int8_bundle.path), None)


def test_another_export_is_another_engine(spec: BuildSpec, int8_bundle: Bundle, tmp_path: Path) -> None:
    changed = tmp_path / "tiny.onnx"
    changed.write_bytes(spec.model.read_bytes())
    same = replace(spec, model=changed, output=int8_bundle.path)
    assert is_engine_up_to_date(same, None)
    with changed.open("ab") as file:
        file.write(b"\x3a\x00")  # an empty graph that protobuf merges into the first
    assert not is_engine_up_to_date(same, None)


def test_other_versions_are_another_engine(spec: BuildSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nstopt, "__version__", "99.0")
    assert not is_engine_up_to_date(spec, None)
    monkeypatch.undo()
    monkeypatch.setattr(type(BACKEND), "identity", lambda _: "openvino 99.0 another CPU")
    assert not is_engine_up_to_date(spec, None)


def test_names_differ_where_engines_differ() -> None:
    plain = BuildSpec(Path("wave.onnx"), Path("out"), precision="int8", sizes=Sizes(SMALL))
    variants = [
        plain,
        replace(plain, symmetric=True),
        replace(plain, tune=True),
        replace(plain, symmetric=True, tune=True),
        replace(plain, batch=4),
        replace(plain, backend="onnxruntime"),
        replace(plain, sizes=Sizes()),
    ]
    names = [variant.bundle_path().name for variant in variants]
    assert len(set(names)) == len(names)
    assert "wave-48x64-int8-symmetric-tuned.nst" in names


def test_fp32_depends_on_no_pictures(tiny_onnx: Path, tmp_path: Path) -> None:
    spec = BuildSpec(tiny_onnx, tmp_path)
    assert choose_pictures(spec, None)[0] is None
    found = fingerprint(spec, BACKEND, None)
    assert found.calibration_sha256 is None
    assert "target" not in found.options
