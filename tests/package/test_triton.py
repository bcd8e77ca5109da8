"""Models for Triton: the configuration is read with Triton's own schema, and held against the rules of its backends."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from nstopt.bundle import BackendInfo, Bundle, InputShape
from nstopt.errors import BuildError, BundleError
from nstopt.package.triton import BACKENDS, package
from nstopt.pictures.size import Size, Sizes

FREE = InputShape.of(None, None)


def bundle(folder: Path, like: Bundle, backend: str, shape: InputShape) -> Bundle:
    """A bundle of any backend and shape, with stand-ins for the files."""
    path = folder / f"net-{backend}.nst"
    path.mkdir()
    for name in BACKENDS[backend].files:
        (path / name).write_text(f"{name} of {backend}")
    info = BackendInfo(backend, "a device", {})
    files = dict.fromkeys(BACKENDS[backend].files, "0" * 64)
    return Bundle(path, msgspec.structs.replace(like.manifest, shape=shape, backend=info, files=files))


def read(folder: Path) -> Any:
    """The configuration as Triton reads it; a field that the schema has not is an error."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_a_bundle_of_one_picture(int8_bundle: Bundle, tmp_path: Path) -> None:
    folder, told = package(int8_bundle, tmp_path / "models")
    assert folder == tmp_path / "models" / int8_bundle.path.stem
    assert told == "no dynamic batching: each request is a batch of 1 (for more, build with --any-batch)"
    config = read(folder)
    assert (config.name, config.backend, config.max_batch_size) == (folder.name, "openvino", 0)
    assert not config.HasField("dynamic_batching")
    for port, name in ((config.input, "image"), (config.output, "stylized")):
        assert [(p.name, p.data_type, list(p.dims)) for p in port] == [
            (name, model_config_pb2.TYPE_UINT8, [1, 48, 64, 3])
        ]
    assert [group.kind for group in config.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_CPU]
    assert {key: value.string_value for key, value in config.parameters.items()} == {"PERFORMANCE_HINT": "LATENCY"}
    warm = config.model_warmup[0]
    assert (warm.batch_size, list(warm.inputs["image"].dims)) == (1, [1, 48, 64, 3])
    assert warm.inputs["image"].random_data
    assert sorted(path.name for path in (folder / "1").iterdir()) == ["model.bin", "model.xml"]
    for name in int8_bundle.manifest.files:
        assert (folder / "1" / name).read_bytes() == (int8_bundle.path / name).read_bytes()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert stat.S_IMODE(folder.stat().st_mode) & 0o055 == 0o055  # a server runs as another user


@pytest.mark.parametrize(
    ("backend", "served", "file", "kind"),
    [
        ("onnxruntime", "onnxruntime", "model.onnx", "KIND_CPU"),
        ("torchscript", "pytorch", "model.pt", "KIND_CPU"),
        ("tensorrt", "tensorrt", "model.plan", "KIND_GPU"),
    ],
)
def test_bundles_of_any_number_of_pictures(
    int8_bundle: Bundle, tmp_path: Path, backend: str, served: str, file: str, kind: str
) -> None:
    folder, told = package(bundle(tmp_path, int8_bundle, backend, InputShape.of(None, Size(480, 640))), tmp_path)
    config = read(folder)
    assert told == "dynamic batching of up to 8 pictures"
    assert (config.backend, config.max_batch_size, config.HasField("dynamic_batching")) == (served, 8, True)
    assert [path.name for path in (folder / "1").iterdir()] == [file]
    # The schema of Triton: with a batch size of its own, dims leave the first dimension out.
    assert list(config.input[0].dims) == list(config.output[0].dims) == [480, 640, 3]
    assert list(config.model_warmup[0].inputs[config.input[0].name].dims) == [480, 640, 3]
    assert config.instance_group[0].kind == getattr(model_config_pb2.ModelInstanceGroup, kind)
    names = ("INPUT__0", "OUTPUT__0") if served == "pytorch" else ("image", "stylized")
    assert (config.input[0].name, config.output[0].name) == names


def test_any_size_is_warmed_up_with_one(int8_bundle: Bundle, tmp_path: Path) -> None:
    config = read(package(bundle(tmp_path, int8_bundle, "onnxruntime", FREE), tmp_path, max_batch=4)[0])
    assert config.max_batch_size == 4
    assert list(config.input[0].dims) == [-1, -1, 3]
    assert list(config.model_warmup[0].inputs["image"].dims) == [512, 512, 3]


def test_a_plan_for_several_sizes_is_used_with_all_its_profiles(int8_bundle: Bundle, tmp_path: Path) -> None:
    shape = InputShape(1, Sizes(Size(96, 128), Size(48, 64)))
    folder, _ = package(bundle(tmp_path, int8_bundle, "tensorrt", shape), tmp_path / "repository")
    config = read(folder)
    assert list(config.instance_group[0].profile) == ["0", "1"]
    assert list(config.model_warmup[0].inputs["image"].dims) == [1, 96, 128, 3]
    assert list(config.input[0].dims) == [1, -1, -1, 3]


def test_openvino_batches_only_if_asked(int8_bundle: Bundle, tmp_path: Path) -> None:
    free = bundle(tmp_path, int8_bundle, "openvino", FREE)
    folder, told = package(free, tmp_path, "alone")
    config = read(folder)
    assert "would fill up short batches" in told
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [-1, -1, -1, 3])
    assert list(config.model_warmup[0].inputs["image"].dims) == [1, 512, 512, 3]
    folder, told = package(free, tmp_path, "padded", 4)
    config = read(folder)
    assert told == "dynamic batching of up to 4 pictures, short batches filled up"
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (4, True)
    assert config.parameters["ENABLE_BATCH_PADDING"].string_value == "YES"


def test_what_cannot_be_packaged(int8_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match=r"takes batches of 1 only, .* build with --any-batch"):
        package(int8_bundle, tmp_path, max_batch=8)
    for name in ("a/b", "..", ".hidden", "/tmp"):
        with pytest.raises(BundleError, match="is no name for a model: give a plain one with --name"):
            package(int8_bundle, tmp_path, name)
    (tmp_path / "net").mkdir()
    with pytest.raises(BundleError, match="net: it is there already, and a server may use it"):
        package(int8_bundle, tmp_path, "net")
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"file/net: cannot be written"):
        package(int8_bundle, tmp_path / "file", "net")
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(BuildError, match=r"needs tritonclient: pip install 'nstopt\[serve\]'"):
        package(int8_bundle, tmp_path, "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "net"]
    assert not list((tmp_path / "net").iterdir())
