"""Cuts: two photographs are two scenes; motion, noise and light are not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nstopt.pictures.cuts import is_cut
from nstopt.pictures.files import Picture, demo_photographs


@pytest.fixture(scope="module")
def scenes() -> list[Picture]:
    return [picture for _, picture in demo_photographs()]


def test_another_photograph_is_another_scene(scenes: list[Picture]) -> None:
    assert all(is_cut(a, b) and is_cut(b, a) for a, b in itertools.combinations(scenes, 2))


def test_motion_is_no_cut(scenes: list[Picture]) -> None:
    for scene in scenes:
        width = scene.shape[1] * 4 // 5
        assert not is_cut(scene[:, :width], scene[:, -width:])  # a pan over a fifth of the picture
        assert not is_cut(scene, scene[:, ::-1])
        assert not is_cut(scene, scene)


def test_noise_and_light_are_no_cut(scenes: list[Picture]) -> None:
    random = np.random.default_rng(0)
    for scene in scenes:
        grainy = [(scene + random.normal(0, 8, scene.shape)).clip(0, 255).astype(np.uint8) for _ in range(2)]
        assert not is_cut(*grainy)
        assert not is_cut(scene, (scene * 0.95).astype(np.uint8))
