"""TensorRT engines on doubles of cuda-python and tensorrt, which compute with ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nstopt.bench.subject import TellsCopies, Warns
from nstopt.bundle import read_files
from nstopt.errors import BundleError, DeviceError
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size, Sizes

from .conftest import LAUNCH, SMALL, Host, assert_stylized, noise


def test_pictures(host: Host) -> None:
    with host.load() as engine:
        for seed in range(3):
            assert_stylized(engine(noise(seed=seed)), noise(seed=seed))
        assert_stylized(engine(noise()[None]), noise()[None])
        out = np.zeros((*SMALL, 3), np.uint8)
        assert engine(noise(), out=out) is out
        assert_stylized(out, noise())
        picture = noise()
        assert engine(picture, out=picture) is picture
        assert_stylized(picture, noise())
        assert (engine.notes, engine.warnings) == (("CUDA graph",), ())
        assert host.cuda.calls["cudaGraphLaunch"] == 6
        assert host.cuda.alive()["context"] == 1
    assert host.cuda.alive() == {}


@pytest.mark.parametrize(
    ("written", "stated"),
    [
        ({}, InputShape.of(1, Size(24, 40))),
        ({}, InputShape.of(2, Size(*SMALL))),
        ({}, InputShape(1, Sizes(Size(*SMALL), Size(24, 40)))),
        ({"sizes": [SMALL, (24, 40)]}, InputShape.of(1, Size(*SMALL))),
    ],
)
def test_a_plan_that_its_manifest_does_not_state(host: Host, written: dict[str, Any], stated: InputShape) -> None:
    folder, _ = host.write(**written)
    with pytest.raises(BundleError, match=r"^engine: not the engine that its manifest states, .* but image uint8 \["):
        host.ours["engine"].TensorRTEngine(read_files(folder), stated, "engine")


def test_a_batch(host: Host) -> None:
    pictures = np.stack([noise(seed=seed) for seed in range(3)])
    with host.load(batch=3) as engine:
        assert_stylized(engine(pictures), pictures)
        with pytest.raises(BundleError, match="not 1x24x32"):
            engine(pictures[0])


def test_without_a_graph(host: Host) -> None:
    host.cuda.fail("capture", "cudaErrorStreamCaptureUnsupported")
    with host.load() as engine:
        assert_stylized(engine(noise()), noise())
        (note,) = engine.notes
        assert note.startswith("no CUDA graph: the GPU failed while capturing a CUDA graph: cudaErrorStreamCaptureUn")
        assert engine.warnings == (note,)
        assert host.cuda.calls["cudaGraphLaunch"] == 0


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("cudaGraphLaunch", "launching a CUDA graph"),
        ("kernel", "running the engine"),
        ("cudaStreamSynchronize", "running the engine"),
    ],
)
def test_errors_of_the_device(host: Host, name: str, what: str) -> None:
    with host.load() as engine:
        assert_stylized(engine(noise()), noise())
        host.cuda.fail(name, LAUNCH)
        with pytest.raises(DeviceError, match=f"while {what}: {LAUNCH}: unspecified launch failure"):
            engine(noise())
        assert "context" not in host.cuda.alive()  # its lane was closed
        assert_stylized(engine(noise()), noise())
        host.cuda.fail(name, LAUNCH)
        with pytest.raises(DeviceError, match=LAUNCH):
            engine.submit(noise()).result()
        assert "context" not in host.cuda.alive()
        assert_stylized(engine.submit(noise()).result(), noise())
    assert host.cuda.alive() == {}


def test_no_memory_for_a_first_lane(host: Host) -> None:
    with host.load() as engine:
        host.cuda.fail("cudaMalloc", "cudaErrorMemoryAllocation")
        with pytest.raises(DeviceError, match="while allocating 2304 bytes: cudaErrorMemoryAllocation: out of memory"):
            engine(noise())
        assert_stylized(engine(noise()), noise())


def test_a_damaged_plan(host: Host) -> None:
    folder, shape = host.write()
    files = {**read_files(folder), "engine.plan": b"nonsense"}
    with pytest.raises(DeviceError, match=r"TensorRT 10.8.0 cannot load .*: the plan is no plan"):
        host.ours["engine"].TensorRTEngine(files, shape, "engine")


def test_copies_and_layers_are_timed(host: Host) -> None:
    with host.load() as engine:
        splits = engine.split(noise()[None], 3)
        assert len(splits) == 3
        assert min(min(split) for split in splits) > 0
        layers = {layer.name: layer for layer in engine.profile(noise()[None], 4)}
        assert layers["conv"].kind == "Convolution"
        assert layers["Clip"].kind == "?"
        assert {len(layer.samples_ms) for layer in layers.values()} == {4}
        assert_stylized(engine(noise()), noise())
        host.cuda.fail("kernel", LAUNCH)
        with pytest.raises(DeviceError, match=LAUNCH):
            engine.split(noise()[None], 3)
        assert_stylized(engine(noise()), noise())
        assert isinstance(engine, TellsCopies)  # the benchmark tests for these protocols
        assert isinstance(engine, Warns)
