"""The table of GPUs: complete, consistent, and in agreement with published figures."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nstopt.errors import DeviceError
from nstopt.gpu.facts import Gpu, architecture_of, architectures, gpu, gpus, recognize

NAMES = [
    "gtx-1050ti",
    "gtx-1060",
    "gtx-1070",
    "gtx-1080",
    "gtx-1080ti",
    "titan-xp",
    "gtx-1650",
    "gtx-1660ti",
    "rtx-2060",
    "rtx-2080ti",
    "rtx-3060",
    "rtx-3080",
    "rtx-3090",
    "rtx-4060",
    "rtx-4090",
    "rtx-5060",
    "rtx-5090",
    "jetson-orin-nano",
    "t4",
    "v100",
    "a10",
    "a100",
    "l4",
    "h100",
    "h200",
]


def test_every_named_gpu_is_there() -> None:
    assert set(NAMES) <= gpus().keys()


@pytest.mark.parametrize("name", list(gpus()))
def test_entry_is_complete(name: str) -> None:
    found = gpu(name)
    assert found.key == name
    assert found.source.startswith("https://")
    assert 500 <= found.base_mhz <= found.boost_mhz <= 3000
    assert 3 <= found.memory_gib <= 200
    assert 50 <= found.bandwidth_gb_s <= 10000
    assert found.architecture in architectures().values()
    assert found.tensor_boost_mhz is None or found.base_mhz <= found.tensor_boost_mhz < found.boost_mhz


@pytest.mark.parametrize("name", list(gpus()))
def test_the_fp32_rate_is_the_published_one(name: str) -> None:
    """Compare cores x clock x 2 with the figure of the source."""
    found = gpu(name)
    assert found.gops("fp32") == pytest.approx(found.cores * 2 * found.boost_mhz / 1000)
    assert found.gops("fp32") / 1000 == pytest.approx(found.published_fp32_tflops, rel=0.006)


@pytest.mark.parametrize(
    ("name", "fp32_tflops", "fp16_tflops", "int8_tops"),
    [  # NVIDIA's data sheets and white papers (Turing, GA102, Ada), dense, FP16 with FP16 accumulation
        ("gtx-1060", 4.4, 4.4 / 64, 17.5),
        ("v100", 14, 112, 56),
        ("t4", 8.1, 65, 130),
        ("rtx-2080ti", 13.4, 107.6, 215.2),
        ("rtx-3080", 29.8, 119, 238),
        ("rtx-3090", 35.6, 142, 284),
        ("rtx-4090", 82.6, 330.3, 660.6),
        ("a10", 31.2, 125, 250),
        ("a100", 19.5, 312, 624),
        ("l4", 30.3, 121, 242),
        ("h100", 66.9, 989, 1979),
        ("h200", 66.9, 989, 1979),
        ("jetson-orin-nano", 1.28, 10, 20),
        ("rtx-5090", 104.8, 419, 838),
    ],
)
def test_peaks_against_data_sheets(name: str, fp32_tflops: float, fp16_tflops: float, int8_tops: float) -> None:
    found = gpu(name)
    for precision, published in (("fp32", fp32_tflops), ("fp16", fp16_tflops), ("int8", int8_tops)):
        assert found.gops(precision) / 1000 == pytest.approx(published, rel=0.03)


def test_pascal_is_fast_in_int8_but_not_in_fp16() -> None:
    pascal = gpu("gtx-1060").architecture
    assert pascal.compute_capability == "6.1"
    assert pascal.speed_up("fp16") == 1 / 64
    assert pascal.speed_up("int8") == 4
    assert [pascal.is_fast(precision) for precision in ("fp32", "fp16", "int8")] == [True, False, True]
    assert pascal.tensorrt_last == "8.6"
    assert not pascal.has_int8_transposed_convolution
    assert gpu("rtx-2060").architecture.has_int8_transposed_convolution


def test_only_pascal_is_slow_in_fp16() -> None:
    slow = {key for key, found in gpus().items() if not found.architecture.is_fast("fp16")}
    assert slow == {key for key, found in gpus().items() if found.architecture.sm == (6, 1)}


def test_vector_and_tensor_rates() -> None:
    t4, gtx = gpu("t4"), gpu("gtx-1650")
    assert t4.architecture.fp16_tensor == 4 * t4.architecture.fp16
    assert t4.architecture.int8_tensor == 4 * t4.architecture.int8_dp4a
    assert gtx.architecture.fp16_tensor == gtx.architecture.int8_tensor == 0
    assert gtx.gops("fp16") == pytest.approx(2 * gtx.gops("fp32"))
    assert gtx.gops("int8") == pytest.approx(4 * gtx.gops("fp32"))


def test_unknown_names() -> None:
    with pytest.raises(DeviceError, match="no GPU 'gtx1060' is known; there are: gtx-1050ti, gtx-1060-3gb, gtx-1060, "):
        gpu("gtx1060")
    with pytest.raises(DeviceError, match="unknown precision 'fp8'; there are: fp32, fp16, int8"):
        gpu("t4").gops("fp8")


@pytest.mark.parametrize(
    ("device_name", "name"),
    [
        ("NVIDIA GeForce GTX 1060 6GB", "gtx-1060"),
        ("GeForce GTX 1060 3GB", "gtx-1060-3gb"),
        ("Tesla T4", "t4"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", None),
        ("NVIDIA GeForce GTX 1080 Ti", "gtx-1080ti"),
        ("", None),
    ],
)
def test_names_of_the_driver_are_recognized(device_name: str, name: str | None) -> None:
    found = recognize(device_name)
    assert (found.key if found else None) == name


def test_device_names_are_told_apart() -> None:
    names = [name for found in gpus().values() for name in found.device_names]
    assert len(set(names)) == len(names)


def test_architectures_by_compute_capability() -> None:
    assert architecture_of((6, 1)) is architectures()["pascal"]
    assert architecture_of((7, 5), "NVIDIA GeForce GTX 1660 SUPER") is architectures()["turing-gtx"]
    assert architecture_of((7, 5), "NVIDIA GeForce RTX 2070") is architectures()["turing"]
    assert architecture_of((8, 6), "NVIDIA GeForce RTX 3060 Laptop GPU") is architectures()["ampere"]
    assert architecture_of((3, 5)) is None


def test_structs_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        gpu("t4").multiprocessors = 1  # type: ignore[misc]
    assert isinstance(gpu("t4"), Gpu)


def test_the_table_loads_without_anything_heavy() -> None:
    code = (
        "import sys, nstopt.gpu.facts as g; g.gpus(); print(*sorted({'numpy', 'onnx', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
