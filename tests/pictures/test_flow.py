"""Flow: warps against shifts done by hand, what is visible, and an estimate of a known motion."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nstopt.pictures.flow import Flow, boundaries, estimate, inside, visible, warp


def shift(right: float, down: float, height: int = 6, width: int = 8) -> Flow:
    """Everything was `right` and `down` pixels from where it is."""
    return np.stack([np.full((height, width), right), np.full((height, width), down)]).astype(np.float32)


@pytest.fixture
def picture() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_warp_moves_whole_pixels(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    moved = warp(picture, shift(2, -1))
    np.testing.assert_allclose(moved[1:, :-2], picture[:-1, 2:], atol=1e-3)
    np.testing.assert_allclose(moved[0, :-2], picture[0, 2:], atol=1e-3)  # above the border, the border goes on


def test_warp_interpolates_between_pixels(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    expected = 0.75 * picture[:, :-1].astype(np.float32) + 0.25 * picture[:, 1:]
    np.testing.assert_allclose(warp(picture, shift(0.25, 0))[:, :-1], expected, atol=1e-3)


def test_inside_is_where_a_flow_stays_in_the_picture() -> None:
    found = inside(shift(2, -1))
    assert found[1:, :-2].all()
    assert not found[0].any()
    assert not found[:, -2:].any()


def test_visible_is_where_going_back_and_forth_ends_where_it_began() -> None:
    backward, forward = shift(1, 0), shift(-1, 0)
    assert visible(backward, forward)[:, :-1].all()
    forward[0, 2, 3] = 4  # what is at (2, 2) now claims to come from (3, 2), which says that it went elsewhere
    assert not visible(backward, forward)[2, 2]
    assert visible(backward, forward).sum() == 6 * 7 - 1


def test_boundaries_are_where_the_motion_changes() -> None:
    flow = shift(0, 0)
    flow[0, :, 5:] = 3
    expected = np.zeros((6, 8), bool)
    expected[:, 4:6] = True
    np.testing.assert_array_equal(boundaries(flow), expected)


def test_estimate_finds_a_shift() -> None:
    random = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    scene = np.asarray(Image.fromarray(random).resize((60, 48), Image.Resampling.BICUBIC))
    flow, seen = estimate(scene[4:44, 6:54], scene[5:45, 4:52])
    inner = flow[:, 8:-8, 8:-8]
    np.testing.assert_allclose(np.median(inner, axis=(1, 2)), (2, -1), atol=0.3)
    assert seen[8:-8, 8:-8].mean() > 0.9
