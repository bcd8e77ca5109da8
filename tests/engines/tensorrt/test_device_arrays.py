"""Engines on device arrays, on doubles of cuda-python and tensorrt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nstopt.errors import BundleError, DeviceError

from .conftest import LAUNCH, Host, Pictures, assert_stylized, noise, stylized
from .host_device import FRESH


class Described:
    """Another library's device array with __cuda_array_interface__, which its own stream may still be writing."""

    def __init__(
        self, host: Host, picture: Pictures, version: int = 3, offset: int = 0, read_only: bool = False
    ) -> None:
        ours: Any = host.ours["cuda"]
        self.shape = picture.shape
        self._world, self._kept = host.cuda, np.ascontiguousarray(picture)
        self._memory, self._stream = ours.DeviceMemory(picture.nbytes + offset), ours.Stream()
        self.pointer = self._memory.pointer + offset
        self.handle = self._stream.handle if version >= 3 else 1
        late = host.cuda.get("stream", self.handle)
        late.put(lambda: time.sleep(0.005))
        late.put(self._write)
        stream = {"stream": self.handle} if version >= 3 else {}
        self.__cuda_array_interface__ = {
            "data": (self.pointer, read_only), "shape": self.shape, "typestr": "|u1", "version": version, **stream
        }  # fmt: skip

    def _write(self) -> None:
        self.bytes[:] = self._kept.reshape(-1)

    @property
    def bytes(self) -> Pictures:
        return self._world.bytes_at(self.pointer, self._kept.nbytes)

    def close(self) -> None:
        self._stream.synchronize()
        self._stream.close()
        self._memory.close()


class Exchanged(Described):
    """The assert_stylized with DLPack; its __cuda_array_interface__ names no stream, like torch's."""

    def __init__(self, host: Host, picture: Pictures) -> None:
        super().__init__(host, picture)
        self._host = host
        self.__cuda_array_interface__ |= {"version": 2, "stream": None}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int) -> Any:
        cudart = self._host.cuda
        _, event = cudart.cudaEventCreate()
        cudart.cudaEventRecord(event, self.handle)
        cudart.cudaStreamWaitEvent(stream, event, 0)
        cudart.cudaEventDestroy(event)
        return self.bytes.reshape(self.shape).__dlpack__()


def old_interface(host: Host, picture: Pictures) -> Described:
    return Described(host, picture, version=2)


def of_pycuda(host: Host, picture: Pictures) -> Described:
    """pycuda writes on the default stream, states strides, and names no stream."""
    array = Described(host, picture, version=2)
    rows, columns, colors = picture.shape[-3:]
    strides = (rows * columns * colors, columns * colors, colors, 1)[-picture.ndim :]
    array.__cuda_array_interface__ |= {"version": 3, "stream": None, "strides": strides}
    return array


def downloaded(host: Host, array: Any) -> Pictures:
    described = array.__cuda_array_interface__
    flat = host.cuda.bytes_at(described["data"][0], int(np.prod(described["shape"])))
    return flat.reshape(described["shape"]).copy()


@pytest.mark.parametrize("kind", [Described, old_interface, Exchanged, of_pycuda])
def test_arrays_on_the_device(host: Host, kind: Callable[..., Any]) -> None:
    """Device arrays are read after their owner has written them, and written in place."""
    with host.load() as engine:
        engine(noise())  # makes the lane, so that the array's owner is slower than the engine
        for picture in (noise(), noise(seed=1)[None]):
            out, array = kind(host, np.zeros_like(picture)), kind(host, picture)
            made = engine(array)
            assert made.shape == picture.shape
            assert_stylized(downloaded(host, made), picture)
            assert engine(array, out=out) is out
            assert_stylized(downloaded(host, out), picture)
            assert_stylized(downloaded(host, engine(made)), stylized(picture))
            array.close()
            out.close()
            del made
        engine.split(noise()[None], 1)  # runs at the lane's own addresses again, not at freed ones
        assert_stylized(engine(noise()), noise())
        assert host.cuda.alive()["context"] == 1


def test_results_use_memory_again(host: Host) -> None:
    """Only once nothing refers to the earlier result, and after what the default stream still does with it."""
    with host.load() as engine:
        array = Described(host, noise())
        first, second = engine(array), engine(array)
        taken = {one.__cuda_array_interface__["data"][0] for one in (first, second)}
        assert len(taken) == 2
        allocated = host.cuda.calls["cudaMalloc"]
        del first, second
        seen: list[Pictures] = []

        def read_late(result: Any) -> None:
            pointer = result.__cuda_array_interface__["data"][0]
            assert pointer in taken
            late = host.cuda.get("stream", 1)
            late.put(lambda: time.sleep(0.005))
            late.put(lambda: seen.append(host.cuda.bytes_at(pointer, noise().nbytes).reshape(noise().shape).copy()))

        for _ in range(4):
            read_late(engine(array))
        assert host.cuda.calls["cudaMalloc"] == allocated
        kept = engine(array)
        array.close()
    assert len(seen) == 4
    for one in seen:
        assert_stylized(one, noise())
    assert_stylized(downloaded(host, kept), noise())  # a result outlives its engine


def test_a_pair_of_addresses_gets_a_graph(host: Host) -> None:
    with host.load() as engine:
        array, out = Described(host, noise()), Described(host, np.zeros_like(noise()))
        launches = []
        for seed in range(4):
            array._kept[:] = noise(seed=seed)
            array._write()
            before = host.cuda.calls["cudaGraphLaunch"]
            engine(array, out=out)
            launches.append(host.cuda.calls["cudaGraphLaunch"] - before)
            assert_stylized(downloaded(host, out), noise(seed=seed))
        assert launches == [0, 0, 1, 1]
        assert_stylized(engine(noise()), noise())  # the lane's own graph has the lane's own addresses
        for one in (array, out):
            one.close()


def test_graphs_of_pairs_are_few_and_may_fail(host: Host) -> None:
    with host.load() as engine:
        array = Described(host, noise())
        outs = [Described(host, np.zeros_like(noise())) for _ in range(host.ours["lane"].MAX_PAIRS + 1)]

        def is_launched(number: int) -> bool:
            before = host.cuda.calls["cudaGraphLaunch"]
            engine(array, out=outs[number])
            assert_stylized(downloaded(host, outs[number]), noise())
            return host.cuda.calls["cudaGraphLaunch"] > before

        assert [is_launched(number) for number in (0, 1) * 3] == [False] * 4 + [True] * 2  # double buffering
        assert not any(is_launched(number) for number in range(2, len(outs) - 1))
        assert is_launched(0)
        assert not is_launched(len(outs) - 1)  # takes the place of the least recently used pair
        assert [is_launched(number) for number in (0, 1)] == [True, False]
        assert host.cuda.alive()["graph"] <= 1 + host.ours["lane"].MAX_PAIRS
        host.cuda.fail("cudaStreamBeginCapture", LAUNCH)
        other = Described(host, np.zeros_like(noise()))
        for _ in range(3):
            engine(array, out=other)
            assert_stylized(downloaded(host, other), noise())
        for one in (array, other, *outs):
            one.close()


def test_device_memory_that_overlaps_or_is_not_aligned(host: Host) -> None:
    with host.load() as engine:
        array = Described(host, noise())
        assert engine(array, out=array) is array
        assert_stylized(downloaded(host, array), noise())
        read, written = Described(host, noise(), offset=3), Described(host, noise(seed=1), offset=5)
        engine(read, out=written)
        assert_stylized(downloaded(host, written), noise())
        for one in (array, read, written):
            one.close()


def test_unsuitable_device_arrays_are_refused(host: Host) -> None:
    with host.load() as engine:
        array, small = Described(host, noise()), Described(host, noise((16, 16)))
        fixed = Described(host, noise(), read_only=True)
        for arguments, message in (
            ((small,), "not 1x16x16"),
            ((array, small), r"`out` must be a writable uint8 device array of shape \[24, 32, 3\]"),
            ((array, fixed), "must be a writable"),
            ((array, noise()), "must both be in GPU memory, or both in host memory"),
            ((noise(), array), "must both be in GPU memory"),
        ):
            with pytest.raises(BundleError, match=message):
                engine(*arguments)
        with pytest.raises(BundleError, match="only pictures in host memory can be submitted"):
            engine.submit(array)
        flat: Any = Described(host, noise())
        flat.__cuda_array_interface__["shape"] = (24 * 32 * 3,)
        with pytest.raises(BundleError, match=r"engine takes uint8 RGB arrays .* not \[2304\]"):
            engine(flat)
        assert host.cuda.alive()["context"] == 1  # the lane is kept
        for one in (array, small, fixed, flat):
            one.close()


def test_errors_with_device_arrays(host: Host) -> None:
    with host.load() as engine:
        array = Described(host, noise())
        held = engine(array)  # so that the next result needs memory of its own
        for name in ("cudaMalloc", "cudaEventRecord", "execute_async_v3", "kernel"):
            host.cuda.fail(name, LAUNCH)
            with pytest.raises(DeviceError, match=LAUNCH):
                engine(array)
            assert_stylized(downloaded(host, engine(array)), noise())
        assert_stylized(downloaded(host, held), noise())
        assert_stylized(engine(noise()), noise())
        array.close()


def test_new_memory_has_a_fill_pattern(host: Host) -> None:
    """The tests above rely on it: a read before the write sees the pattern."""
    memory = host.ours["cuda"].DeviceMemory(8)
    assert set(host.cuda.bytes_at(memory.pointer, 8)) == {FRESH}
    memory.close()
