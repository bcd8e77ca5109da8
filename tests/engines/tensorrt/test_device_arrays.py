"""Pictures that lie on the device, on doubles of the vendors' packages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nstopt.errors import BundleError, DeviceError

from .conftest import LAUNCH, Host, Pictures, noise, paint, same
from .host_device import FRESH


class Described:
    """Another library's array on the device, which its own stream may still be writing: __cuda_array_interface__."""

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
    """The same with DLPack; its other interface tells no stream, as torch's."""

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


def downloaded(host: Host, array: Any) -> Pictures:
    described = array.__cuda_array_interface__
    flat = host.cuda.bytes_at(described["data"][0], int(np.prod(described["shape"])))
    return flat.reshape(described["shape"]).copy()


@pytest.mark.parametrize("kind", [Described, old_interface, Exchanged])
def test_arrays_on_the_device(host: Host, kind: Callable[..., Any]) -> None:
    """Are read after their owner has written them, and written where they lie."""
    with host.load() as engine:
        engine(noise())  # so that the lane is there, and the array's owner the slower one
        launched = host.cuda.calls["cudaGraphLaunch"]
        for picture in (noise(), noise(seed=1)[None]):
            out, array = kind(host, np.zeros_like(picture)), kind(host, picture)
            made = engine(array)
            assert made.shape == picture.shape
            same(downloaded(host, made), picture)
            assert engine(array, out=out) is out
            same(downloaded(host, out), picture)
            same(downloaded(host, engine(made)), paint(picture))
            array.close()
            out.close()
            del made
        assert host.cuda.calls["cudaGraphLaunch"] == launched
        engine.split(noise()[None], 1)  # at the lane's own addresses again, or it would use what is freed
        same(engine(noise()), noise())
        assert host.cuda.alive()["context"] == 1


def test_device_memory_that_overlaps_or_is_not_aligned(host: Host) -> None:
    with host.load() as engine:
        array = Described(host, noise())
        assert engine(array, out=array) is array
        same(downloaded(host, array), noise())
        read, written = Described(host, noise(), offset=3), Described(host, noise(seed=1), offset=5)
        engine(read, out=written)
        same(downloaded(host, written), noise())
        for one in (array, read, written):
            one.close()


def test_device_arrays_that_do_not_fit(host: Host) -> None:
    with host.load() as engine:
        array, small = Described(host, noise()), Described(host, noise((16, 16)))
        fixed = Described(host, noise(), read_only=True)
        for arguments, message in (
            ((small,), "not 1x16x16"),
            ((array, small), r"`out` must be a writable uint8 device array of shape \[24, 32, 3\]"),
            ((array, fixed), "must be a writable"),
            ((array, noise()), "must both lie on the GPU, or both in the host's memory"),
            ((noise(), array), "must both lie on the GPU"),
        ):
            with pytest.raises(BundleError, match=message):
                engine(*arguments)
        with pytest.raises(BundleError, match="only pictures in the host's memory can be submitted"):
            engine.submit(array)
        flat: Any = Described(host, noise())
        flat.__cuda_array_interface__["shape"] = (24 * 32 * 3,)
        with pytest.raises(BundleError, match=r"engine takes uint8 RGB arrays .* not \[2304\]"):
            engine(flat)
        assert host.cuda.alive()["context"] == 1  # which goes on being used
        for one in (array, small, fixed, flat):
            one.close()


def test_errors_with_device_arrays(host: Host) -> None:
    with host.load() as engine:
        array = Described(host, noise())
        same(downloaded(host, engine(array)), noise())
        for name in ("cudaMalloc", "cudaEventRecord", "execute_async_v3", "kernel"):
            host.cuda.fail(name, LAUNCH)
            with pytest.raises(DeviceError, match=LAUNCH):
                engine(array)
            same(downloaded(host, engine(array)), noise())
        same(engine(noise()), noise())
        array.close()


def test_fresh_memory_is_no_picture(host: Host) -> None:
    """What the tests above rely on: who reads too early sees it."""
    memory = host.ours["cuda"].DeviceMemory(8)
    assert set(host.cuda.bytes_at(memory.pointer, 8)) == {FRESH}
    memory.close()
