"""Descriptions of device arrays, read without a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nstopt.engines.tensorrt.arrays import DEFAULT_STREAM, DeviceArray, from_dlpack, from_interface, is_on_device
from nstopt.errors import BundleError


class Described:
    """An object with __cuda_array_interface__."""

    def __init__(self, **fields: Any) -> None:
        self.__cuda_array_interface__ = {
            "data": (4096, False), "shape": (4, 5, 3), "typestr": "|u1", "version": 3, **fields
        }  # fmt: skip


def test_cuda_array_interface() -> None:
    array = Described(stream=7)
    found = from_interface(array)
    assert (found.pointer, found.shape, found.stream, found.owner) == (4096, (4, 5, 3), 7, array)
    assert from_interface(Described(strides=None)).stream == DEFAULT_STREAM
    assert from_interface(Described(strides=(15, 3, 1), stream=None)).stream == DEFAULT_STREAM  # as pycuda has it
    assert from_interface(Described(strides=(15, 3, 1))).shape == (4, 5, 3)
    assert from_interface(Described(shape=(1, 4, 5, 3), strides=(999, 15, 3, 1))).shape == (1, 4, 5, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"typestr": "<f4"}, "engine takes uint8 device arrays, not <f4"),
        ({"strides": (30, 3, 1)}, r"C-contiguous device arrays, not strides \(30, 3, 1\) of shape \(4, 5, 3\)"),
        ({"strides": (1, 4, 20)}, "C-contiguous"),
    ],
)
def test_arrays_of_another_dtype_or_layout_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        from_interface(Described(**fields))


def test_dlpack() -> None:
    """numpy exports host memory through DLPack."""
    array = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    found = from_dlpack(array, None)
    assert (found.pointer, found.shape) == (array.ctypes.data, array.shape)
    assert from_dlpack(array[1:3], None).pointer == array.ctypes.data + 15
    with pytest.raises(BundleError, match=r"not DLPack type 2 of 32 bits"):
        from_dlpack(np.zeros((4, 5, 3), np.float32), None)
    with pytest.raises(BundleError, match="C-contiguous"):
        from_dlpack(array[:, ::2], None)


def test_device_arrays_are_recognized() -> None:
    assert is_on_device(Described())
    assert not is_on_device(np.zeros(3))
    assert not is_on_device([1, 2])


def test_a_result_describes_itself_and_frees_its_memory() -> None:
    freed: list[int] = []
    result = DeviceArray(4096, (4, 5, 3), lambda: freed.append(1))
    assert (from_interface(result).pointer, from_interface(result).stream) == (4096, None)
    assert is_on_device(result)
    del result
    assert freed == [1]
