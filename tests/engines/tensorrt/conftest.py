"""TensorRT's runtime on doubles of the vendors' packages: see host_cuda.py and host_tensorrt.py."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nstopt.bundle import (
    FORMAT_VERSION,
    BackendInfo,
    Bundle,
    InputShape,
    Manifest,
    NetInfo,
    PrecisionInfo,
    new_bundle,
)
from nstopt.errors import BundleError, DeviceError
from nstopt.pictures.size import Size, Sizes

from .host_cuda import HostCuda
from .host_tensorrt import Shape, World, plan_of, session_of

SMALL = (24, 32)
SIZES = [SMALL, (16, 16), (20, 48)]
LAUNCH = "cudaErrorLaunchFailure"
Pictures = NDArray[np.uint8]
PACKAGE = "nstopt.engines.tensorrt"
OURS = ("arrays", "cuda", "lane", "pool", "engine", "session")  # all that import the vendors' packages, or who does
REPORT = '{"Layers": [{"Name": "conv", "LayerType": "Convolution", "Inputs": [], "Outputs": []}]}'


def painter(batch: int | str = 1, height: int | str = SMALL[0], width: int | str = SMALL[1]) -> bytes:
    """An ONNX graph with the contract of ours: a 3x3 convolution of the picture."""
    random = np.random.default_rng(3)
    constants = {
        "w": random.normal(0.05, 0.2, (3, 3, 3, 3)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(255),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w"], ["painted"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["painted"], ["pixels"], perm=[0, 2, 3, 1]),
        helper.make_node("Clip", ["pixels", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["stylized"], to=TensorProto.UINT8),
    ]
    shape = [batch, height, width, 3]
    graph = helper.make_graph(
        nodes,
        "painter",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    plain: bytes = model.SerializeToString()
    return plain


def paint(images: Pictures) -> Pictures:
    """What ONNX Runtime makes of pictures [N, H, W, 3] or a picture."""
    batch = images if images.ndim == 4 else images[None]
    made: Pictures = session_of(painter("n", "h", "w")).run(None, {"image": batch})[0]
    return made.reshape(images.shape)


def noise(size: tuple[int, int] = SMALL, seed: int = 0) -> Pictures:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """What `work` gives for each number, in as many threads."""
    found: list[Any] = [None] * count

    def one(number: int) -> None:
        try:
            found[number] = work(number)
        except (DeviceError, BundleError) as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return found


def same(found: Any, picture: Pictures) -> None:
    np.testing.assert_array_equal(found, paint(picture))


class Host:
    """Our modules, imported with the doubles in the vendors' place."""

    def __init__(self, cuda: HostCuda, trt: Any, folder: Path, ours: dict[str, ModuleType]) -> None:
        self.cuda, self.trt, self.ours = cuda, trt, ours
        self._folder = folder

    def bundle(self, sizes: Sequence[tuple[int, int]] = (), batch: int = 1, copies: int = 1) -> Bundle:
        """For 24x32, or for each of these sizes as `copies` profiles."""
        several = tuple(Size(*size) for size in sizes)
        shapes: list[Shape] = [(batch, *size, 3) for size in sizes for _ in range(copies)]
        plan = plan_of(painter(batch, "h", "w"), shapes) if sizes else plan_of(painter(batch))

        with new_bundle(self._folder / "painter.nst") as draft:
            (draft.folder / "engine.plan").write_bytes(plan)
            (draft.folder / "layers.json").write_text(REPORT)
            return draft.commit(
                Manifest(
                    FORMAT_VERSION,
                    NetInfo("painter", "johnson", (), 0, ""),
                    InputShape(batch, Sizes(*several)) if sizes else InputShape.of(batch, Size(*SMALL)),
                    PrecisionInfo("fp32", "fp32", {}),
                    None,
                    None,
                    BackendInfo("tensorrt", "host", {"tensorrt": self.trt.__version__}),
                    {},
                    "",
                )
            )

    def load(self, *arguments: Any, **options: Any) -> Any:
        """A TensorRTEngine of `bundle`."""
        return self.ours["engine"].TensorRTEngine(self.bundle(*arguments, **options))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Afterwards nothing may have been misused, and everything must have been given back."""
    cuda = HostCuda()
    trt = World(cuda).module
    cuda_package: Any = ModuleType("cuda")
    bindings: Any = ModuleType("cuda.bindings")
    cuda_package.bindings = bindings
    bindings.runtime = cuda.module()
    for name, module in {
        "cuda": cuda_package,
        "cuda.bindings": bindings,
        "cuda.bindings.runtime": bindings.runtime,
        "tensorrt": trt,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    package = sys.modules.get(PACKAGE) or importlib.import_module(PACKAGE)
    for name in OURS:
        monkeypatch.setitem(sys.modules, f"{PACKAGE}.{name}", None)  # so that what is imported now goes again
        monkeypatch.setattr(package, name, None, raising=False)
        del sys.modules[f"{PACKAGE}.{name}"]
    yield Host(cuda, trt, tmp_path, {name: importlib.import_module(f"{PACKAGE}.{name}") for name in OURS})
    if cuda.alive():
        gc.collect()  # of what an error's traceback kept
    cuda.end()
    assert cuda.misuse == []
    assert cuda.alive() == {}
