"""Writes an engine bundle as a model of a Triton Inference Server repository:

    REPOSITORY/NAME/config.pbtxt    inputs, outputs, batching, warm-up
    REPOSITORY/NAME/1/model.*       the bundle's files, under the names that Triton's backends look for

The configuration follows the rules of Triton's backends, https://github.com/triton-inference-server/{server,
openvino_backend,pytorch_backend}, and is made with the protobuf classes in tritonclient.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nstopt.bundle import Bundle
from nstopt.engines.tensorrt.flags import profiles_per_size
from nstopt.errors import BuildError, BundleError
from nstopt.files import make_folder
from nstopt.manifest import Manifest

if TYPE_CHECKING:
    from google.protobuf.message import Message

VERSION = "1"
MAX_BATCH = 8
WARM_UP_RUNS = 3


@dataclass(frozen=True)
class Served:
    """Triton's side of an nstopt backend. `files` maps a bundle's file to the name that Triton looks for; `image` and
    `stylized` are the tensor names. `pads`: it runs batches of one length only, and pads shorter ones."""

    backend: str
    files: dict[str, str]
    image: str = "image"
    stylized: str = "stylized"
    platform: str = ""
    on_gpu: bool = False
    pads: bool = False


BACKENDS = {
    "openvino": Served("openvino", {"model.xml": "model.xml", "model.bin": "model.bin"}, pads=True),
    "onnxruntime": Served("onnxruntime", {"model.onnx": "model.onnx"}),
    # A TorchScript file has no tensor names: these are Triton's names for its first input and output.
    "torchscript": Served("pytorch", {"model.ts": "model.pt"}, "INPUT__0", "OUTPUT__0", "pytorch_libtorch"),
    "tensorrt": Served("tensorrt", {"engine.plan": "model.plan"}, platform="tensorrt_plan", on_gpu=True),
}


def package(
    bundle: Bundle, repository: Path, name: str | None = None, max_batch: int | None = None
) -> tuple[Path, str]:
    """Write the model `name` (default: the bundle's name) into `repository`. Return its folder and a sentence on its
    batching.

    `max_batch` is the longest batch that Triton may make of single requests. The default is 8 if the bundle takes any
    batch, except with OpenVINO, where shorter batches would be padded. An existing model is never overwritten. Raises
    BuildError if tritonclient is missing, BundleError if the bundle does not fit or the folder cannot be written.
    """
    name = name or bundle.path.resolve().stem
    target = repository / name
    if Path(name).name != name or name in ("", "..") or name.startswith("."):
        raise BundleError(f"'{name}' is not a model name: give a plain one with --name")
    served = BACKENDS[bundle.manifest.backend.name]
    limit, batching = _batching(bundle, served, max_batch)
    text = _text(_config(bundle.manifest, served, name, limit))
    try:
        if target.exists():
            raise BundleError(
                f"{target}: already exists, and a server may be using it; give another --name, or remove it"
            )
        make_folder(repository)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=repository) as temporary:
            folder = Path(temporary) / name
            (folder / VERSION).mkdir(parents=True)
            for own, theirs in served.files.items():
                (folder / VERSION / theirs).write_bytes(bundle.file(own))
            (folder / "config.pbtxt").write_text(text)
            folder.rename(target)
    except OSError as error:
        raise BundleError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target, batching


def _batching(bundle: Bundle, served: Served, max_batch: int | None) -> tuple[int, str]:
    """Return Triton's max_batch_size and a sentence that explains it. Above 0, the model's batch must be dynamic."""
    own = bundle.manifest.shape.batch
    if own is not None and max_batch is not None:
        raise BundleError(
            f"{bundle.path}: its engine takes batches of {own} only, so Triton cannot batch single requests; "
            "build with --any-batch, or leave --max-batch out"
        )
    if own is not None:
        return 0, f"no dynamic batching: each request is a batch of {own} (for more, build with --any-batch)"
    if served.pads and max_batch is None:
        return 0, "no dynamic batching: Triton's OpenVINO backend would pad short batches (--max-batch allows it)"
    limit = max_batch or MAX_BATCH
    return limit, f"dynamic batching of up to {limit} pictures" + (", short batches padded" if served.pads else "")


def _config(manifest: Manifest, served: Served, name: str, limit: int) -> Message:
    """Return a ModelConfig message. Its dims leave out the batch if Triton makes the batches."""
    proto, shape = _schema(), manifest.shape
    dims = [shape.batch or -1, *(shape.sizes.only or (-1, -1)), 3][1 if limit else 0 :]
    warm = [shape.batch or 1, *shape.sizes.first, 3][1 if limit else 0 :]
    kind = proto.ModelInstanceGroup.KIND_GPU if served.on_gpu else proto.ModelInstanceGroup.KIND_CPU
    config: Message = proto.ModelConfig(
        name=name,
        backend=served.backend,
        platform=served.platform,
        max_batch_size=limit,
        input=[proto.ModelInput(name=served.image, data_type=proto.TYPE_UINT8, dims=dims)],
        output=[proto.ModelOutput(name=served.stylized, data_type=proto.TYPE_UINT8, dims=dims)],
        instance_group=[proto.ModelInstanceGroup(kind=kind, count=1, profile=_profiles(manifest))],
        dynamic_batching=proto.ModelDynamicBatching() if limit > 1 else None,
        parameters={key: proto.ModelParameter(string_value=value) for key, value in _parameters(served, limit).items()},
        model_warmup=[
            proto.ModelWarmup(
                name="picture",
                batch_size=1,
                count=WARM_UP_RUNS,
                inputs={served.image: proto.ModelWarmup.Input(data_type=proto.TYPE_UINT8, dims=warm, random_data=True)},
            )
        ],
    )
    return config


def _profiles(manifest: Manifest) -> list[str]:
    """Return the first optimization profile of each size; none for an engine of one size or any size. Triton makes an
    execution context for each listed profile, so further profiles of a size would only cost memory."""
    sizes = manifest.shape.sizes
    if sizes.is_any or sizes.only is not None:
        return []
    version = manifest.backend.versions.get("tensorrt")
    if version is None:
        raise BundleError("the manifest does not state TensorRT's version; build the engine again")
    step = profiles_per_size(version)
    return [str(index * step) for index in range(len(sizes.listed))]


def _parameters(served: Served, limit: int) -> dict[str, str]:
    if served.backend != "openvino":
        return {}
    return {"PERFORMANCE_HINT": "LATENCY"} | ({"ENABLE_BATCH_PADDING": "YES"} if limit else {})


def _schema() -> Any:
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise BuildError("Triton's configuration needs tritonclient: pip install 'nstopt[serve]'") from error
    return model_config_pb2


def _text(config: Message) -> str:
    from google.protobuf import text_format

    text: str = text_format.MessageToString(config)
    return text
