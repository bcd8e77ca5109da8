"""TensorRT on a real GPU: builds, pictures, CUDA graphs, threads, sizes, damaged plans."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nstopt
from nstopt import engines
from nstopt.engines.tensorrt.build import BUNDLE_FILES
from nstopt.errors import BundleError, DeviceError

from .conftest import Build
from .models import PRECISIONS, SIZES, reference_name

pytestmark = pytest.mark.gpu
# Largest difference to FP32 in gray levels (FP16 rounds activations to 11 bits), and least PSNR of INT8 in dB.
LEVELS = {"fp32": 1, "fp16": 12}
INT8_DB = 36


def reference(models: Path, size: tuple[int, int]) -> tuple[Any, Any]:
    with np.load(models / reference_name(size)) as file:
        return file["image"], file["expected"]


def psnr_db(left: Any, right: Any) -> float:
    error = np.mean((left.astype(float) - right) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_parity(build: Build, models: Path, precision: str, size: tuple[int, int]) -> None:
    image, expected = reference(models, size)
    with nstopt.load(build(precision, size).path) as engine:
        found = engine(image)
        if precision.startswith("int8"):
            assert psnr_db(found, expected) >= INT8_DB
        else:
            assert np.abs(found.astype(int) - expected).max() <= LEVELS[precision]
        np.testing.assert_array_equal(engine(image[0]), found[0])
        assert engine.notes == ("CUDA graph",)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_convolutions_compute_in_the_types_of_the_graph(build: Build, precision: str) -> None:
    found = build(precision, SIZES[0]).manifest.precision
    assert found.differences == ()
    assert found.computes == precision


def test_files_of_the_bundle(build: Build) -> None:
    bundle = build("fp32", SIZES[0])
    assert bundle.manifest.files.keys() == {*BUNDLE_FILES}
    assert bundle.file("layers.json").startswith(b"{")


def test_several_sizes_in_one_plan(build: Build, models: Path) -> None:
    with nstopt.load(build("fp32", None).path) as engine:
        for size in (*SIZES, *reversed(SIZES)):
            image, expected = reference(models, size)
            assert np.abs(engine(image).astype(int) - expected).max() <= 1
        with pytest.raises(BundleError, match="1x64x96, 128x128, 120x200, not 1x32x32"):
            engine(np.zeros((32, 32, 3), np.uint8))


def test_results_with_and_without_a_graph_are_equal(build: Build, models: Path) -> None:
    image, _ = reference(models, SIZES[0])
    with nstopt.load(build("fp32", SIZES[0]).path) as engine:
        expected = engine(image)
        with engine._lanes.borrow(image.shape) as lane:  # type: ignore[attr-defined]
            np.copyto(lane.host["image"].array, image)
            lane.run_plain()
            np.testing.assert_array_equal(lane.host[lane.outputs[0]].array, expected)


def test_requests_in_flight(build: Build, models: Path) -> None:
    image, _ = reference(models, SIZES[1])
    pictures = [np.roll(image[0], shift, axis=1) for shift in range(3)]
    with nstopt.load(build("int8", SIZES[1]).path) as engine:
        expected = [engine(picture) for picture in pictures]
        pending = [engine.submit(picture) for picture in pictures]
        for request, result in zip(reversed(pending), reversed(expected), strict=True):
            np.testing.assert_array_equal(request.result(), result)
        with pytest.raises(BundleError, match="the result of this request was taken before"):
            pending[0].result()


def test_threads_share_an_engine(build: Build, models: Path) -> None:
    image, _ = reference(models, SIZES[0])
    pictures = [np.roll(image[0], 7 * number, axis=0) for number in range(12)]
    with nstopt.load(build("int8", SIZES[0]).path) as engine:
        expected = [engine(picture) for picture in pictures]
        found: dict[int, Any] = {}

        def work(number: int) -> None:
            found[number] = [engine(pictures[number]) for _ in range(20)][-1]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(pictures))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, result in enumerate(expected):
            np.testing.assert_array_equal(found[number], result)


def test_arrays_on_the_gpu(build: Build, models: Path) -> None:
    from nstopt.engines.tensorrt.arrays import DeviceArray
    from nstopt.engines.tensorrt.cuda import DeviceMemory, Stream

    image, _ = reference(models, SIZES[0])
    engine: Any
    with nstopt.load(build("fp32", SIZES[0]).path) as engine:
        expected = engine(image)
        memory, stream = DeviceMemory(image.nbytes), Stream()
        stream.upload(memory.pointer, image.ctypes.data, image.nbytes)
        stream.synchronize()
        result = engine(DeviceArray(memory.pointer, image.shape, memory.close))
        found = np.empty_like(image)
        stream.download(found.ctypes.data, result.__cuda_array_interface__["data"][0], found.nbytes)
        stream.synchronize()
        np.testing.assert_array_equal(found, expected)


def test_a_graph_for_each_pair_of_addresses(build: Build, models: Path) -> None:
    """Double buffering: graphs of two pairs take turns on one context."""
    from nstopt.engines.tensorrt.arrays import DeviceArray
    from nstopt.engines.tensorrt.cuda import DeviceMemory, Stream

    image, _ = reference(models, SIZES[0])
    pictures = [image, np.ascontiguousarray(image[:, ::-1])]
    engine: Any
    with nstopt.load(build("fp32", SIZES[0]).path) as engine:
        expected, stream = [engine(picture) for picture in pictures], Stream()
        memories = [[DeviceMemory(image.nbytes) for _ in range(2)] for _ in pictures]
        arrays = [[DeviceArray(one.pointer, image.shape, one.close) for one in pair] for pair in memories]
        for _ in range(4):
            for picture, right, (read, written), (source, target) in zip(
                pictures, expected, memories, arrays, strict=True
            ):
                stream.upload(read.pointer, picture.ctypes.data, picture.nbytes)
                stream.synchronize()
                engine(source, out=target)
                found = np.empty_like(image)
                stream.download(found.ctypes.data, written.pointer, found.nbytes)
                stream.synchronize()
                np.testing.assert_array_equal(found, right)


def test_times(build: Build, models: Path) -> None:
    image, _ = reference(models, SIZES[2])
    with nstopt.load(build("fp32", SIZES[2]).path) as engine:
        splits = engine.split(image, 5)  # type: ignore[attr-defined]
        assert len(splits) == 5
        assert all(min(split) > 0 for split in splits)
        layers = engine.profile(image, 5)
        assert len(layers) > 5
        assert {len(layer.samples_ms) for layer in layers} == {5}
        assert any(layer.work and layer.work.macs for layer in layers)
        assert engine(image).shape == image.shape  # the engine still works


def test_a_damaged_plan(build: Build) -> None:
    """The hash in the manifest matches, so that TensorRT has to detect the damage."""
    good = build("fp32", SIZES[0])
    damaged = {**good.contents, "engine.plan": good.file("engine.plan")[:4096]}
    with pytest.raises(DeviceError, match="cannot load"):
        engines.backend("tensorrt").load(damaged, good.manifest.shape, "damaged")
