"""Engines on doubles of cuda-python and tensorrt: see host_cuda.py and host_tensorrt.py."""

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

from nstopt.bundle import read_files
from nstopt.errors import BundleError, DeviceError
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size, Sizes

from .host_cuda import HostCuda
from .host_tensorrt import Shape, World, plan_of, session_of

SMALL = (24, 32)
SIZES = [SMALL, (16, 16), (20, 48)]
LAUNCH = "cudaErrorLaunchFailure"
Pictures = NDArray[np.uint8]
PACKAGE = "nstopt.engines.tensorrt"
# The modules that import the doubled packages, directly or not.
OURS = ("arrays", "cuda", "lane", "pool", "results", "engine", "session")
REPORT = '{"Layers": [{"Name": "conv", "LayerType": "Convolution", "Inputs": [], "Outputs": []}]}'


def model(batch: int | str = 1, height: int | str = SMALL[0], width: int | str = SMALL[1]) -> bytes:
    """Return an ONNX model with the inputs and outputs of our nets: a 3x3 convolution of the picture."""
    random = np.random.default_rng(3)
    constants = {
        "w": random.normal(0.05, 0.2, (3, 3, 3, 3)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(255),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w"], ["convolved"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["convolved"], ["pixels"], perm=[0, 2, 3, 1]),
        helper.make_node("Clip", ["pixels", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["stylized"], to=TensorProto.UINT8),
    ]
    shape = [batch, height, width, 3]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("stylized", TensorProto.UINT8, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    serialized: bytes = proto.SerializeToString()
    return serialized


def stylized(pictures: Pictures) -> Pictures:
    """Run `model` in ONNX Runtime on uint8 [H, W, 3] or [N, H, W, 3]."""
    batch = pictures if pictures.ndim == 4 else pictures[None]
    result: Pictures = session_of(model("n", "h", "w")).run(None, {"image": batch})[0]
    return result.reshape(pictures.shape)


def noise(size: tuple[int, int] = SMALL, seed: int = 0) -> Pictures:
    """Return random pixels, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def in_threads(work: Callable[[int], Any], count: int) -> list[Any]:
    """Call `work` with 0 to `count` - 1, each in its own thread; return the results or errors in order."""
    results: list[Any] = [None] * count

    def call(number: int) -> None:
        try:
            results[number] = work(number)
        except (DeviceError, BundleError) as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return results


def assert_stylized(result: Any, picture: Pictures) -> None:
    """Fail unless `result` is what the net makes of `picture`."""
    np.testing.assert_array_equal(result, stylized(picture))


class Host:
    """Our modules, imported with the doubles in place of cuda-python and tensorrt."""

    def __init__(self, cuda: HostCuda, trt: Any, folder: Path, ours: dict[str, ModuleType]) -> None:
        self.cuda, self.trt, self.ours = cuda, trt, ours
        self._folder = folder

    def write(self, sizes: Sequence[tuple[int, int]] = (), batch: int = 1, copies: int = 1) -> tuple[Path, InputShape]:
        """Write an engine's files for 24x32, or for several sizes with `copies` optimization profiles each. Return the
        folder and the shape."""
        profiles: list[Shape] = [(batch, *size, 3) for size in sizes for _ in range(copies)]
        plan = plan_of(model(batch, "h", "w"), profiles) if sizes else plan_of(model(batch))
        (self._folder / "engine.plan").write_bytes(plan)
        (self._folder / "layers.json").write_text(REPORT)
        (self._folder / "graph.json").write_text("{}")
        return self._folder, InputShape(batch, Sizes(*(Size(*size) for size in sizes or [SMALL])))

    def load(self, *arguments: Any, **options: Any) -> Any:
        """Load a TensorRTEngine of `write`, which takes the arguments."""
        folder, shape = self.write(*arguments, **options)
        return self.ours["engine"].TensorRTEngine(read_files(folder), shape, "engine")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Provides the doubles. After the test, nothing may have been misused, and everything must have been freed."""
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
        monkeypatch.setitem(sys.modules, f"{PACKAGE}.{name}", None)  # so that the import below is undone
        monkeypatch.setattr(package, name, None, raising=False)
        del sys.modules[f"{PACKAGE}.{name}"]
    yield Host(cuda, trt, tmp_path, {name: importlib.import_module(f"{PACKAGE}.{name}") for name in OURS})
    if cuda.alive():
        gc.collect()  # frees what the traceback of an error holds
    cuda.end()
    assert cuda.misuse == []
    assert cuda.alive() == {}
