"""Models for Triton: configurations are parsed with Triton's own schema and checked against its backends' rules."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import text_format
from made import MakeBundle
from tritonclient.grpc import model_config_pb2

from nstopt.bundle import Bundle, open_bundle
from nstopt.errors import BuildError, BundleError
from nstopt.manifest import BackendInfo, InputShape
from nstopt.package.triton import BACKENDS, package
from nstopt.pictures.size import Size, Sizes

FREE = InputShape.of(None, None)


@pytest.fixture
def real_bundle(make_bundle: MakeBundle) -> Bundle:
    """An OpenVINO bundle for pictures of 48x64."""
    return open_bundle(make_bundle("net", InputShape.of(1, Size(48, 64))))


def bundle(folder: Path, like: Bundle, backend: str, shape: InputShape, **versions: str) -> Bundle:
    """Return a bundle of any backend and shape, with placeholder files."""
    path = folder / f"net-{backend}.nst"
    path.mkdir()
    info = BackendInfo(backend, "a device", versions)
    files = dict.fromkeys(BACKENDS[backend].files, "0" * 64)
    contents = dict.fromkeys(files, f"a file of {backend}".encode())
    return Bundle(path, msgspec.structs.replace(like.manifest, shape=shape, backend=info, files=files), contents)


def read(folder: Path) -> Any:
    """Parse the configuration as Triton does; a field that is not in the schema is an error."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_a_bundle_of_batch_one(real_bundle: Bundle, tmp_path: Path) -> None:
    folder, batching = package(real_bundle, tmp_path / "models")
    assert folder == tmp_path / "models" / real_bundle.path.stem
    assert batching == "no dynamic batching: each request is a batch of 1 (for more, build with --any-batch)"
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
    for name in ("model.bin", "model.xml"):
        assert (folder / "1" / name).read_bytes() == (real_bundle.path / name).read_bytes()
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
def test_bundles_of_any_batch(
    real_bundle: Bundle, tmp_path: Path, backend: str, served: str, file: str, kind: str
) -> None:
    folder, batching = package(bundle(tmp_path, real_bundle, backend, InputShape.of(None, Size(480, 640))), tmp_path)
    config = read(folder)
    assert batching == "dynamic batching of up to 8 pictures"
    assert (config.backend, config.max_batch_size, config.HasField("dynamic_batching")) == (served, 8, True)
    assert [path.name for path in (folder / "1").iterdir()] == [file]
    # Triton's schema: if max_batch_size is above 0, dims leave out the first dimension.
    assert list(config.input[0].dims) == list(config.output[0].dims) == [480, 640, 3]
    assert list(config.model_warmup[0].inputs[config.input[0].name].dims) == [480, 640, 3]
    assert config.instance_group[0].kind == getattr(model_config_pb2.ModelInstanceGroup, kind)
    names = ("INPUT__0", "OUTPUT__0") if served == "pytorch" else ("image", "stylized")
    assert (config.input[0].name, config.output[0].name) == names


def test_an_engine_for_any_size_is_warmed_up_at_512x512(real_bundle: Bundle, tmp_path: Path) -> None:
    config = read(package(bundle(tmp_path, real_bundle, "onnxruntime", FREE), tmp_path, max_batch=4)[0])
    assert config.max_batch_size == 4
    assert list(config.input[0].dims) == [-1, -1, 3]
    assert list(config.model_warmup[0].inputs["image"].dims) == [512, 512, 3]


@pytest.mark.parametrize(
    ("version", "profiles"),
    [("8.5.3.1", ["0", "3", "6"]), ("8.6.1.post1", ["0", "1", "2"]), ("11.4.0.106", ["0", "1", "2"])],
)
def test_a_plan_for_several_sizes_lists_one_profile_of_each(
    real_bundle: Bundle, tmp_path: Path, version: str, profiles: list[str]
) -> None:
    """TensorRT 8.5 plans have three optimization profiles for each size."""
    shape = InputShape(1, Sizes(Size(96, 128), Size(48, 64), Size(64, 64)))
    several = bundle(tmp_path, real_bundle, "tensorrt", shape, tensorrt=version)
    config = read(package(several, tmp_path / "repository")[0])
    assert list(config.instance_group[0].profile) == profiles
    assert list(config.model_warmup[0].inputs["image"].dims) == [1, 96, 128, 3]
    assert list(config.input[0].dims) == [1, -1, -1, 3]


def test_openvino_batches_only_if_asked(real_bundle: Bundle, tmp_path: Path) -> None:
    free = bundle(tmp_path, real_bundle, "openvino", FREE)
    folder, batching = package(free, tmp_path, "alone")
    config = read(folder)
    assert "would pad short batches" in batching
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [-1, -1, -1, 3])
    assert list(config.model_warmup[0].inputs["image"].dims) == [1, 512, 512, 3]
    folder, batching = package(free, tmp_path, "padded", 4)
    config = read(folder)
    assert batching == "dynamic batching of up to 4 pictures, short batches padded"
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (4, True)
    assert config.parameters["ENABLE_BATCH_PADDING"].string_value == "YES"


def test_refusals_leave_the_repository_as_it_was(
    real_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    (models / "net").mkdir(parents=True)
    with pytest.raises(BundleError, match=r"takes batches of 1 only, .* build with --any-batch"):
        package(real_bundle, models, max_batch=8)
    for name in ("a/b", "..", ".hidden", "/tmp"):
        with pytest.raises(BundleError, match="is not a model name: give a plain one with --name"):
            package(real_bundle, models, name)
    with pytest.raises(BundleError, match="net: already exists, and a server may be using it"):
        package(real_bundle, models, "net")
    (models / "file").write_text("")
    with pytest.raises(BundleError, match=r"file/net: cannot be written"):
        package(real_bundle, models / "file", "net")
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(BuildError, match=r"needs tritonclient: pip install 'nstopt\[serve\]'"):
        package(real_bundle, models, "other")
    assert sorted(path.name for path in models.iterdir()) == ["file", "net"]
    assert not list((models / "net").iterdir())
