"""TensorRT: what it needs, said before anything native is touched. Its Runtime crashes the process where there is no
GPU."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import NoReturn

from nstopt.bundle import Bundle, ShapeInfo
from nstopt.engines.base import Backend, Built, Capabilities, Engine
from nstopt.errors import DeviceError


class TensorRTBackend(Backend):
    name = "tensorrt"
    capabilities = Capabilities(
        precisions=frozenset({"fp32", "fp16", "int8"}), free_zero_point=frozenset(), dynamic_sizes=True, unsigned=False
    )

    def build(self, model: Path, shape: ShapeInfo, precision: str, folder: Path) -> Built:
        _refuse("build an engine")

    def load(self, bundle: Bundle) -> Engine:
        _refuse(f"load {bundle.path}")


def _refuse(what: str) -> NoReturn:
    """Count devices first, then look for the package, then say that this version has no TensorRT backend yet."""
    if count_gpus() == 0:
        raise DeviceError(
            f"cannot {what} with TensorRT: it needs an NVIDIA GPU, and this machine shows none; use --backend openvino"
        )
    if importlib.util.find_spec("tensorrt") is None:
        raise DeviceError(f"cannot {what} with TensorRT: the package is not installed; pip install tensorrt")
    raise DeviceError(f"cannot {what} with TensorRT: this version of nstopt has no TensorRT backend yet")


def count_gpus() -> int:
    """NVIDIA GPUs that the driver shows; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value


BACKEND = TensorRTBackend()
