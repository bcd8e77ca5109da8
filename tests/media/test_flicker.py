"""The warping error is 0 for what moves with the scene, and the added flicker for what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import MakeBundle
from train.test_systems import write_clip

from nstopt.errors import BundleError, MediaError
from nstopt.media.flicker import Clip, Flicker, flicker, measure, read_clip
from nstopt.pictures.files import Picture
from nstopt.pictures.flow import Flow, inside, warp
from nstopt.pictures.size import Size, Sizes
from nstopt.train.warp import random_flow


@pytest.fixture
def moving() -> Clip:
    """Four frames of noise that moves one pixel to the left in each, with its flow."""
    scene = np.random.default_rng(0).integers(50, 200, (20, 40, 3), dtype=np.uint8)
    pictures = tuple(scene[:, number : number + 30] for number in range(4))
    flow: Flow = np.stack([np.ones((20, 30)), np.zeros((20, 30))]).astype(np.float32)
    seen = np.ones((20, 30), bool)
    seen[:, -2:] = False  # the column that comes into view, and the one beside it, which a test paints
    return Clip("noise", pictures, (flow,) * 3, (seen,) * 3)


def test_motion_of_the_scene_is_not_flicker(moving: Clip) -> None:
    found = flicker(moving, lambda picture: picture)
    assert found.warping_error == pytest.approx(0, abs=1e-3)
    assert found.contrast == pytest.approx(43, abs=3)
    inverted = flicker(moving, lambda picture: 255 - picture)
    assert inverted.warping_error == pytest.approx(0, abs=1e-3)


def test_flicker_is_measured_in_gray_levels(moving: Clip) -> None:
    lighter = iter((0, 10, 0, 10))
    found = flicker(moving, lambda picture: picture + np.uint8(next(lighter)))
    assert found.warping_error == pytest.approx(10, abs=1e-2)


def test_a_clip_made_by_a_known_flow_has_only_rounding_errors(photographs: list[Picture]) -> None:
    """Rounding to gray levels has the variance 1/12, whatever a stylizer of single pixels does that keeps distances."""
    random = np.random.default_rng(0)
    flows = [random_flow(60, random) for _ in range(3)]
    pictures = [photographs[0][:, :60]]
    for flow in flows:
        pictures.append(warp(pictures[-1], flow).round().astype(np.uint8))
    clip = Clip("warped", tuple(pictures), tuple(flows), tuple(inside(flow) for flow in flows))
    found = flicker(clip, lambda picture: 255 - picture)
    assert found.warping_error == pytest.approx(np.sqrt(1 / 12), rel=0.1)
    assert found.e_warp == pytest.approx(1 / 12 / 255**2, rel=0.1)
    assert found.e_stab == pytest.approx(found.warping_error / 255, rel=0.1)


def test_noise_has_twice_its_variance(moving: Clip) -> None:
    """Two frames' noise of variance 64 differs by a variance of 128; two columns of 30 do not count."""
    random = np.random.default_rng(1)
    found = flicker(moving, lambda picture: (picture + random.normal(0, 8, picture.shape)).round().astype(np.uint8))
    assert found.warping_error == pytest.approx(np.sqrt(128), rel=0.03)
    assert found.e_warp == pytest.approx(128 / 255**2, rel=0.05)
    assert found.e_stab == pytest.approx(np.sqrt(128 * 28 / 30) / 255, rel=0.03)


def test_pixels_at_motion_boundaries_count_except_in_e_warp(moving: Clip) -> None:
    """The upper half of the scene stands still and flickers where it meets the other half, which moves."""
    still = tuple(np.concatenate([moving.pictures[0][:10], one[10:]]) for one in moving.pictures)
    flow = moving.flows[0].copy()
    flow[0, :10] = 0
    clip = Clip("halves", still, (flow,) * 3, moving.visible)
    lighter = iter((0, 10, 0, 10))

    def flash(picture: Picture) -> Picture:
        flashed = picture.copy()
        flashed[9:11] += np.uint8(next(lighter))
        return flashed

    found = flicker(clip, flash)
    assert found.e_warp == pytest.approx(0, abs=1e-8)
    assert found.warping_error == pytest.approx(np.sqrt(100 * 2 / 20), rel=0.01)


def test_only_visible_pixels_count(moving: Clip) -> None:
    def paint(picture: Picture) -> Picture:
        painted = picture.copy()
        painted[:, -1] = 255 * (int(picture[0, 0, 0]) % 2)
        return painted

    assert flicker(moving, paint).warping_error == pytest.approx(0, abs=1e-3)


def test_share_is_error_over_contrast() -> None:
    assert Flicker(3.0, 30.0, 0.0, 0.0).share == pytest.approx(0.1)
    assert Flicker(0.0, 0.0, 0.0, 0.0).share == 0


def test_a_clip_is_read_with_its_flow(tmp_path: Path) -> None:
    clip = read_clip(write_clip(tmp_path / "clips" / "a.mp4", count=5), Sizes(Size(24, 32)), count=3)
    assert [picture.shape for picture in clip.pictures] == [(24, 32, 3)] * 3
    assert [flow.shape for flow in clip.flows] == [(2, 24, 32)] * 2
    assert np.median(clip.flows[0][0]) == pytest.approx(0.5, abs=0.2)  # one pixel of 64, at half the size
    assert flicker(clip, lambda picture: picture).warping_error < 6


def test_flow_of_a_scaled_frame_is_scaled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nstopt.media.flicker.FLOW_SIDE", 24)
    clip = read_clip(write_clip(tmp_path / "clips" / "a.mp4", count=2), Sizes(), count=9)
    assert clip.flows[0].shape == (2, 48, 64)
    assert np.median(clip.flows[0][0]) == pytest.approx(1, abs=0.3)


def test_engines_are_measured_after_the_clip(tmp_path: Path, make_bundle: MakeBundle) -> None:
    rows = measure([make_bundle("inverter")], write_clip(tmp_path / "clips" / "a.mp4", count=2))
    (clip, before), (name, after) = rows
    assert (clip, name) == ("the clip itself", "inverter")
    assert after == pytest.approx(before, rel=1e-3)  # all differences stay
    assert before.contrast > 10


def test_bad_input(tmp_path: Path, make_bundle: MakeBundle) -> None:
    with pytest.raises(MediaError, match="one frame cannot flicker"):
        read_clip(write_clip(tmp_path / "clips" / "a.mp4", count=1), Sizes(), 30)
    with pytest.raises(MediaError, match="no such video"):
        measure([make_bundle()], tmp_path / "no.mp4")
    with pytest.raises(BundleError):
        measure([tmp_path / "no.nst"], tmp_path / "clips" / "a.mp4")
