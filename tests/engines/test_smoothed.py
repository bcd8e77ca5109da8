"""Engines with smoothed statistics: made from bundles, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, noise

from nstopt import engines
from nstopt.bundle import Bundle
from nstopt.engines.smoothed import SmoothedEngine, load_smoothed
from nstopt.errors import BundleError
from nstopt.pictures.size import Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def bundle(
    request: pytest.FixtureRequest, tiny_onnx: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    spec = BuildSpec(
        tiny_onnx, tmp_path_factory.mktemp("bundle"), backend=request.param, sizes=Sizes(SMALL), val=photos
    )
    return build_engine(spec).path


def test_without_memory_pictures_are_those_of_the_engine(bundle: Path) -> None:
    smoothed = load_smoothed(bundle)
    with engines.load(bundle) as engine:
        for seed in range(2):
            picture = noise(*SMALL, seed)
            assert np.abs(smoothed(picture).astype(np.int16) - engine(picture)).max() <= 1
    assert (smoothed.name, smoothed.manifest) == (engine.name, engine.manifest)


def test_statistics_are_carried_from_call_to_call(bundle: Path) -> None:
    engine = load_smoothed(bundle)
    dark, bright = noise(*SMALL) // 4, 255 - noise(*SMALL, 1) // 4
    alone = engine(bright)
    assert engine.statistics is not None
    engine.statistics = None
    engine.memory = 0.9
    np.testing.assert_array_equal(engine(bright), alone)  # nothing to remember yet
    kept = engine.statistics
    engine(dark)
    after = engine(bright)
    assert np.abs(after.astype(np.int16) - alone).max() > 1
    engine.statistics = kept
    engine(dark)
    np.testing.assert_array_equal(engine(bright), after)


def test_int8(int8_bundle: Bundle) -> None:
    picture = noise(*SMALL)
    with engines.load(int8_bundle.path) as engine:
        difference = load_smoothed(int8_bundle.path)(picture).astype(np.float64) - engine(picture)
    assert np.sqrt(np.square(difference).mean()) < 3  # a rounding that turns out the other way moves a whole INT8 step


def test_any_size(any_size_bundle: Bundle) -> None:
    engine = load_smoothed(any_size_bundle.path)
    assert isinstance(engine, SmoothedEngine)
    for shape in ((40, 50, 3), (61, 33, 3)):
        assert engine(noise(*shape[:2])).shape == shape


def test_what_cannot_be_smoothed(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    pairs = BuildSpec(tiny_onnx, tmp_path, sizes=Sizes(SMALL), batch=2, val=photos)
    with pytest.raises(BundleError, match="build an engine with --batch 1"):
        load_smoothed(build_engine(pairs).path)
    traced = BuildSpec(tiny_onnx, tmp_path, backend="torchscript", sizes=Sizes(SMALL), val=photos)
    with pytest.raises(BundleError, match="build one with --backend openvino"):
        load_smoothed(build_engine(traced).path)
