"""Real-time motion: known shifts, what is trusted, and pictures of another size than the motion."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nstopt.pictures.files import Picture
from nstopt.pictures.motion import MOTION_SIDE, Motion, carry, estimate_motion, shrink


@pytest.fixture
def scene() -> Picture:
    """Smooth noise, 120x160."""
    random = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(random).resize((160, 120), Image.Resampling.BICUBIC))


def test_a_shift_is_found_and_trusted(scene: Picture) -> None:
    motion = estimate_motion(scene[8:112, 12:148], scene[10:114, 8:144])  # as in flow.py: was 4 right, 2 up
    inner = motion.flow[:, 16:-16, 16:-16]
    np.testing.assert_allclose(np.median(inner, axis=(1, 2)), (4, -2), atol=0.1)
    assert motion.trust[16:-16, 16:-16].mean() > 0.9
    assert motion.trust.shape == (104, 136)


def test_what_comes_into_view_is_not_trusted(scene: Picture) -> None:
    motion = estimate_motion(scene[:, 4:], scene[:, :-4])  # was 4 right: the last 4 columns are new
    assert motion.trust[:, -3:].mean() < 0.1
    assert motion.trust[10:-10, 10:-20].mean() > 0.9
    motion = estimate_motion(np.where(np.indices((120, 160, 3))[1] < 80, scene, 255 - scene), scene)
    assert motion.trust[:, 90:-10].mean() < 0.4
    assert motion.trust[10:-10, 10:70].mean() > 0.9


def test_motion_is_scaled_to_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    flow = np.stack([np.full((20, 20), 1), np.full((20, 20), -0.5)]).astype(np.float32)
    warped, trust = carry(picture, Motion(flow, np.full((20, 20), 0.5, np.float32)))
    np.testing.assert_allclose(warped[1:, :-3], picture[:-1, 3:], atol=1e-3)
    assert trust.shape == (40, 60, 1)
    assert np.all(trust == 0.5)


def test_frames_shrink_with_their_aspect() -> None:
    assert shrink(np.zeros((720, 1280, 3), np.uint8)).shape == (MOTION_SIDE, 427, 3)
    small = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(shrink(small), small)
