"""cuda.py on a double of cuda-python, and both against the recorded API of cuda-python."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nstopt.engines.tensorrt
from nstopt.errors import DeviceError

from .conftest import Host
from .host_cuda import HostCuda
from .host_device import SURFACES

SOURCE = Path(nstopt.engines.tensorrt.__file__).with_name("cuda.py")


@pytest.fixture
def cuda(host: Host) -> Any:
    """nstopt's module cuda.py."""
    return host.ours["cuda"]


def named() -> Iterator[tuple[str, int | None]]:
    """Yield each name of cuda-python that cuda.py uses, with its number of arguments if it is called, directly or
    through `call`."""
    functions: set[ast.AST] = set()
    tree = ast.parse(SOURCE.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function, *arguments = node.args[1:] if ast.unparse(node.func) == "call" else (node.func, *node.args)
            if isinstance(function, ast.Attribute) and ast.unparse(function.value) == "cudart":
                functions.add(function)
                yield function.attr, len(arguments)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "cudart" and node not in functions:
            yield node.attr, None


@pytest.mark.parametrize("version", list(SURFACES))
def test_every_name_exists_in_cuda_python(version: str) -> None:
    surface = SURFACES[version]
    names = list(named())
    assert ("cudaMemcpyAsync", 5) in names
    assert ("cudaGraphInstantiate", 2) in names
    for name, arguments in names:
        if arguments is None:
            assert name in {*surface["enums"], *surface["constants"], *surface["functions"]}
        else:
            assert len(surface["functions"][name]["parameters"]) == arguments, name


@pytest.mark.parametrize("version", list(SURFACES))
def test_the_double_has_the_api_of_cuda_python(version: str) -> None:
    surface, world = SURFACES[version], HostCuda()
    module = world.module()
    for name, described in surface["functions"].items():
        function = getattr(module, name)
        assert list(inspect.signature(function).parameters) == described["parameters"]
        if name != "cudaGetLastError":
            world.fail(name, "cudaErrorInvalidValue")
            assert len(function(*described["parameters"])) == 1 + described["values"]
    for name, members in surface["enums"].items():
        assert {one.name: int(one) for one in getattr(module, name)} == members
    assert surface["errors"] == SURFACES["13.4.4"]["errors"]


def test_copies_are_asynchronous_and_in_order(host: Host, cuda: Any) -> None:
    stream, memory = cuda.Stream(), cuda.DeviceMemory(64)
    there, back = (cuda.PinnedMemory((8, 8), np.dtype(np.uint8)) for _ in range(2))
    there.array[:] = np.arange(64).reshape(8, 8)
    back.array[:] = 0
    with host.cuda.held():
        stream.upload(memory.pointer, there.pointer, 64)
        stream.download(back.pointer, memory.pointer, 64)
        assert not back.array.any()
    stream.synchronize()
    np.testing.assert_array_equal(back.array, there.array)
    for one in (there, back, memory, stream):
        one.close()


def test_a_stream_waits_for_another(host: Host, cuda: Any) -> None:
    first, second, memory = cuda.Stream(), cuda.Stream(), cuda.DeviceMemory(4)
    source, found = np.full(4, 7, np.uint8), np.zeros(4, np.uint8)
    with host.cuda.held():
        first.upload(memory.pointer, source.ctypes.data, 4)
        second.wait_for(first.handle)
        second.download(found.ctypes.data, memory.pointer, 4)
    second.synchronize()
    assert found.tolist() == [7] * 4
    host.cuda.fail("cudaStreamWaitEvent", "cudaErrorInvalidResourceHandle")
    with pytest.raises(DeviceError, match="while waiting for another stream: cudaErrorInvalidResourceHandle: invalid"):
        second.wait_for(first.handle)
    for one in (memory, first, second):
        one.close()


def test_events_measure_time(cuda: Any) -> None:
    stream, first, last = cuda.Stream(), cuda.Event(), cuda.Event()
    with pytest.raises(DeviceError, match="while timing the engine: cudaErrorInvalidResourceHandle"):
        last.ms_since(first)
    first.record(stream)
    last.record(stream)
    stream.synchronize()
    assert 0 < last.ms_since(first) < 1000
    for one in (first, last, stream):
        one.close()


def test_a_graph_replays(cuda: Any) -> None:
    stream, memory, found = cuda.Stream(), cuda.DeviceMemory(4), np.zeros(4, np.uint8)
    source = np.full(4, 1, np.uint8)

    def enqueue() -> None:
        stream.upload(memory.pointer, source.ctypes.data, 4)
        stream.download(found.ctypes.data, memory.pointer, 4)

    graph = stream.capture(enqueue)
    stream.synchronize()
    assert not found.any()
    source[:] = 9
    graph.launch(stream)
    stream.synchronize()
    assert found.tolist() == [9] * 4
    for one in (graph, memory, stream):
        one.close()


@pytest.mark.parametrize("name", ["cudaStreamBeginCapture", "capture", "cudaGraphInstantiate"])
def test_a_failed_capture_raises(host: Host, cuda: Any, name: str) -> None:
    stream = cuda.Stream()
    host.cuda.fail(name, "cudaErrorStreamCaptureUnsupported")
    with pytest.raises(DeviceError, match="a CUDA graph: cudaErrorStreamCaptureUnsupported: operation not permitted"):
        stream.capture(lambda: None)
    assert cuda.take_error() == ""
    stream.close()


def test_an_exception_inside_a_capture_ends_it(cuda: Any) -> None:
    stream = cuda.Stream()
    with pytest.raises(DeviceError, match="allocating 8 bytes: cudaErrorStreamCaptureUnsupported"):
        stream.capture(lambda: cuda.DeviceMemory(8))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream.capture(stop)
    stream.synchronize()
    stream.close()


def test_errors_are_raised_and_cleared(host: Host, cuda: Any) -> None:
    host.cuda.fail("cudaMalloc", "cudaErrorMemoryAllocation")
    with pytest.raises(
        DeviceError, match=r"^the GPU failed while allocating 8 bytes: cudaErrorMemoryAllocation: out of"
    ):
        cuda.DeviceMemory(8)
    assert cuda.take_error() == ""

    def missing() -> Any:
        raise RuntimeError('Function "cuSomething" not found')

    with pytest.raises(DeviceError, match='while asking: Function "cuSomething" not found'):
        cuda.call("asking", missing)


def test_the_double_records_misuse(host: Host, cuda: Any) -> None:
    stream, memory = cuda.Stream(), cuda.DeviceMemory(8)
    target = np.zeros(8, np.uint8)
    memory.close()
    memory.close()
    assert "was freed twice" in host.cuda.misuse.pop()
    stream.download(target.ctypes.data, memory.pointer, 8)
    with pytest.raises(DeviceError, match="cudaErrorIllegalAddress"):
        stream.synchronize()
    assert "after its free" in host.cuda.misuse.pop()
    assert host.cuda.alive() == {"stream": 1}
    stream.close()
    stream.close()
    assert "is nothing, not a stream" in host.cuda.misuse.pop()
