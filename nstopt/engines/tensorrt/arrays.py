"""Device arrays of other libraries, read and written in place: anything with __cuda_array_interface__ (torch, cupy,
pycuda, numba) or DLPack.

Layouts: https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html (version 3) and
https://dmlc.github.io/dlpack/latest/c_api.html.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

from nstopt.errors import BundleError

CUDA, CUDA_MANAGED = 2, 13  # DLDeviceType
UNSIGNED = 1  # DLDataTypeCode
CAPSULE = b"dltensor"
# Handle of the legacy default stream. It synchronizes with all blocking streams of the process.
DEFAULT_STREAM = 1


class View(NamedTuple):
    """C-contiguous uint8 values in GPU memory. `pointer` is their device address. `stream` is the handle of the stream
    that may still be writing them, None if no wait is needed. `owner` keeps the memory alive."""

    pointer: int
    shape: tuple[int, ...]
    stream: int | None
    owner: Any
    writable: bool = True


def is_on_device(array: Any) -> bool:
    """Return True if `array` is in GPU memory."""
    return hasattr(array, "__cuda_array_interface__") or _has_device_dlpack(array)


def _has_device_dlpack(array: Any) -> bool:
    return hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] in (CUDA, CUDA_MANAGED)


def shape_of(array: Any) -> tuple[int, ...]:
    """Return the shape of a device array."""
    described = getattr(array, "__cuda_array_interface__", None)
    return tuple(described["shape"] if described else array.shape)


def view(array: Any, stream: int) -> View:
    """Return a view of a device array for use on the stream of handle `stream`. DLPack is preferred: its producer makes
    `stream` wait for pending writes, while torch's __cuda_array_interface__ names no stream. Raises BundleError if the
    array is not uint8 or not C-contiguous."""
    return from_dlpack(array, stream) if _has_device_dlpack(array) else from_interface(array)


def from_interface(array: Any) -> View:
    """Return a view through __cuda_array_interface__, version 2 or 3. Where it names no stream, as in version 2 and in
    pycuda, the default stream is assumed; a DeviceArray is finished. Raises BundleError as `view`."""
    described = array.__cuda_array_interface__
    shape = tuple(described["shape"])
    if described["typestr"] != "|u1":
        raise BundleError(f"engine takes uint8 device arrays, not {described['typestr']}")
    _check_contiguous(shape, described.get("strides"))
    pointer, read_only = described["data"]
    stream = described.get("stream") or (None if isinstance(array, DeviceArray) else DEFAULT_STREAM)
    return View(pointer, shape, stream, array, not read_only)


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


def from_dlpack(array: Any, stream: int | None) -> View:
    """Return a view through __dlpack__, whose producer makes `stream` wait for pending writes. The capsule is not
    consumed; it is freed with the view. Raises BundleError as `view`."""
    capsule = array.__dlpack__(stream=stream) if stream is not None else array.__dlpack__()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = ctypes.cast(get(capsule, CAPSULE), ctypes.POINTER(_DLTensor)).contents
    shape = tuple(tensor.shape[: tensor.ndim])
    if (tensor.code, tensor.bits, tensor.lanes) != (UNSIGNED, 8, 1):
        raise BundleError(f"engine takes uint8 device arrays, not DLPack type {tensor.code} of {tensor.bits} bits")
    _check_contiguous(shape, tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None)
    return View(tensor.data + tensor.byte_offset, shape, None, (array, capsule))


def _check_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
    """Raise BundleError if strides are not C-contiguous. For uint8, strides in bytes and in elements are the same. An
    axis of length 1 may have any stride."""
    step = 1
    for side, stride in zip(reversed(shape), reversed(strides or ()), strict=False):
        if side != 1 and stride != step:
            raise BundleError(f"engine takes C-contiguous device arrays, not strides {strides} of shape {shape}")
        step *= side


class DeviceArray:
    """uint8 [H, W, 3] or [N, H, W, 3] in GPU memory, for any library that reads __cuda_array_interface__:
    `torch.as_tensor(result, device="cuda")`, `cupy.asarray(result)`. Its memory is freed with the object."""

    def __init__(self, pointer: int, shape: tuple[int, ...], close: Callable[[], None]) -> None:
        self.shape = shape
        self._pointer, self._close = pointer, close

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": "|u1", "data": (self._pointer, False), "version": 3, "strides": None}

    def __del__(self) -> None:
        self._close()
