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
from nstopt.pictures.flow import Flow
from nstopt.pictures.size import Size, Sizes


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


def test_only_visible_pixels_count(moving: Clip) -> None:
    def paint(picture: Picture) -> Picture:
        painted = picture.copy()
        painted[:, -1] = 255 * (int(picture[0, 0, 0]) % 2)
        return painted

    assert flicker(moving, paint).warping_error == pytest.approx(0, abs=1e-3)


def test_share_is_error_over_contrast() -> None:
    assert Flicker(3.0, 30.0).share == pytest.approx(0.1)
    assert Flicker(0.0, 0.0).share == 0


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
