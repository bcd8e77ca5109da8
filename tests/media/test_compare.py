"""Two engines on the same pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL

from nstopt.errors import BundleError, MediaError
from nstopt.media.compare import PictureDifference, compare, difference_panels, stylize_both, worst_first
from nstopt.pictures.size import Size

from .conftest import MakeEngine


def test_the_worst_picture_is_first(make_engine: MakeEngine, photos: Path) -> None:
    left, right = make_engine(), make_engine(SMALL, darker=9)
    pictures = sorted(photos.iterdir())
    found = worst_first(compare(left, right, pictures))
    assert {one.picture for one in found} == set(pictures)
    assert [one.psnr_db for one in found] == sorted(one.psnr_db for one in found)
    assert all(one.psnr_db == pytest.approx(20 * np.log10(255 / 9), abs=3) for one in found)
    assert all(0.5 < one.ssim < 1 and one.max_gray_levels == 9 for one in found)
    (same,) = compare(right, right, pictures[:1])
    assert same == PictureDifference(pictures[0], 100, 1, 0)


def test_pictures_are_brought_to_a_size_that_both_take(make_engine: MakeEngine, photos: Path) -> None:
    free, fixed = make_engine(), make_engine(SMALL)
    for engines, size in (((free, fixed), SMALL), ((fixed, free), SMALL), ((free, free), (60, 80))):
        assert [picture.shape for picture in stylize_both(*engines, photos / "0.png")] == [(*size, 3)] * 2


def test_engines_of_several_sizes_run_at_the_nearest_common_one(make_engine: MakeEngine, photos: Path) -> None:
    left, right = make_engine(Size(96, 128), SMALL), make_engine(SMALL, Size(60, 80))
    assert stylize_both(left, right, photos / "0.png")[0].shape == (*SMALL, 3)


def test_engines_without_a_common_size(make_engine: MakeEngine, photos: Path) -> None:
    with pytest.raises(BundleError, match=r"\(inverter 48x64, inverter 32x32\): build them for one size"):
        list(compare(make_engine(SMALL), make_engine(Size(32, 32)), [photos / "0.png"]))


def test_a_missing_picture(make_engine: MakeEngine, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.png: no such picture"):
        list(compare(make_engine(), make_engine(), [tmp_path / "none.png"]))


def test_the_difference_is_amplified() -> None:
    left, right = np.full((2, 3, 3), 100, np.uint8), np.full((2, 3, 3), 102, np.uint8)
    right[0, 0] = 255
    panels = difference_panels(left, right)
    assert panels.shape == (2, 9, 3)
    assert panels[1, 8].tolist() == [144] * 3
    assert panels[0, 6].tolist() == [255] * 3
