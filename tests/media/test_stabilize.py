"""Stabilized video: the slider, cuts, and where motion cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Once

from nstopt import engines
from nstopt.engines.smoothed import SmoothedEngine, load_smoothed
from nstopt.media.flicker import Clip, flicker
from nstopt.media.stabilize import Former, Stabilizer
from nstopt.pictures.files import Picture, cover, demo_photographs
from nstopt.pictures.flow import inside, warp
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec
from nstopt.train.warp import random_flow

SIDE = 96


@pytest.fixture(scope="module")
def student(once: Once, realtime_onnx: Path, photos: Path) -> Path:
    """The bundle of realtime_starry for 96x96."""

    def fill(folder: Path) -> None:
        build_engine(
            BuildSpec(realtime_onnx, folder, folder / "student.nst", sizes=Sizes(Size(SIDE, SIDE)), val=photos)
        )

    return once("student", fill) / "student.nst"


@pytest.fixture
def engine(student: Path) -> SmoothedEngine:
    return load_smoothed(student)


def scene(name: str) -> Picture:
    return cover(dict(demo_photographs())[name], Size(SIDE, SIDE))


@pytest.fixture(scope="module")
def noisy() -> Clip:
    """Eight frames of a photograph that moves along known flows, each with its own noise and exposure."""
    random = np.random.default_rng(0)
    frames, flows = [scene("astronaut").astype(np.float32)], []
    for _ in range(7):
        flows.append(random_flow(SIDE, random))
        frames.append(warp(frames[-1], flows[-1]))
    filmed = [(frame * random.uniform(0.95, 1.05) + random.normal(0, 6, frame.shape)).clip(0, 255) for frame in frames]
    pictures = tuple(frame.round().astype(np.uint8) for frame in filmed)
    return Clip("noisy", pictures, tuple(flows), tuple(inside(flow) for flow in flows))


def test_the_slider_is_monotone(engine: SmoothedEngine, noisy: Clip) -> None:
    found = [flicker(noisy, Stabilizer(engine, strength)) for strength in (0, 0.25, 0.5, 0.75, 1)]
    for measure in ("warping_error", "share", "e_warp", "e_stab"):
        values = [getattr(one, measure) for one in found]
        assert values == sorted(values, reverse=True), measure
        assert values[-1] < 0.5 * values[0], measure


def test_no_strength_changes_nothing(engine: SmoothedEngine, noisy: Clip, student: Path) -> None:
    stabilize = Stabilizer(engine, 0)
    with engines.load(student) as plain:
        for frame in noisy.pictures:
            assert np.abs(stabilize(frame).astype(np.int16) - plain(frame)).max() <= 1


def test_smoothed_statistics_alone_calm_a_changing_exposure(
    engine: SmoothedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nstopt.media.stabilize.KEPT_RESULT", 0.0)
    still = scene("chelsea")
    corner = still.copy()
    corner[:24, :24] = 255  # changes the statistics of the whole picture

    def change(strength: float) -> float:
        """Change of the lower right half from the first frame to the second."""
        stabilize = Stabilizer(engine, strength)
        before, after = (stabilize(frame)[48:, 48:].astype(np.float64) for frame in (still, corner))
        return float(np.abs(after - before).mean())

    assert change(1) < 0.75 * change(0)


def test_a_cut_ends_what_is_remembered(engine: SmoothedEngine) -> None:
    first, second = scene("astronaut"), scene("coffee")
    alone = Stabilizer(engine, 1)(second)
    stabilize = Stabilizer(engine, 1)
    stabilize(first)
    np.testing.assert_array_equal(stabilize(second), alone)
    assert not np.array_equal(stabilize(second[:, ::-1]), Stabilizer(engine, 1)(second[:, ::-1]))  # the same scene


def test_what_is_remembered_suffices_to_go_on(engine: SmoothedEngine, noisy: Clip) -> None:
    whole = Stabilizer(engine, 0.7)
    expected = [whole(frame) for frame in noisy.pictures]
    first, second = Stabilizer(engine, 0.7), Stabilizer(engine, 0.7)
    for frame in noisy.pictures[:4]:
        first(frame)
    assert isinstance(first.former, Former)
    second.former = first.former
    for frame, wanted in zip(noisy.pictures[4:], expected[4:], strict=True):
        np.testing.assert_array_equal(second(frame), wanted)


def test_frames_of_another_size_are_scaled(engine: SmoothedEngine) -> None:
    stabilize = Stabilizer(engine, 0.5)
    wide = cover(dict(demo_photographs())["coffee"], Size(60, 130))
    assert stabilize(wide).shape == wide.shape
    assert stabilize(wide[:, ::-1]).shape == wide.shape
