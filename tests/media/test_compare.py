"""Two engines on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL

import nstopt
from nstopt.bundle import Bundle
from nstopt.engines.base import Engine
from nstopt.errors import BundleError, MediaError
from nstopt.media.compare import PictureDifference, compare, side_by_side, stylized, worst_first
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec


@pytest.fixture
def pair(any_size_bundle: Bundle, int8_bundle: Bundle) -> Iterator[tuple[Engine, Engine]]:
    """FP32 of any size and INT8 of one."""
    with nstopt.load(any_size_bundle.path) as left, nstopt.load(int8_bundle.path) as right:
        yield left, right


def test_int8_is_apart_from_fp32_and_an_engine_is_not_from_itself(pair: tuple[Engine, Engine], photos: Path) -> None:
    left, right = pair
    pictures = sorted(photos.iterdir())
    found = worst_first(compare(left, right, pictures))
    assert {one.picture for one in found} == set(pictures)
    assert [one.psnr_db for one in found] == sorted(one.psnr_db for one in found)
    assert 20 < found[0].psnr_db < 60
    assert all(0.5 < one.ssim < 1 and one.max_gray_levels > 0 for one in found)
    (same,) = compare(right, right, pictures[:1])
    assert same == PictureDifference(pictures[0], 100, 1, 0)


def test_pictures_have_the_size_that_is_fixed(pair: tuple[Engine, Engine], photos: Path) -> None:
    for picture in stylized(*pair, photos / "0.png"):
        assert picture.shape == (*SMALL, 3)
    assert stylized(pair[0], pair[0], photos / "0.png")[0].shape == (60, 80, 3)


def test_two_sizes_cannot_be_compared(
    pair: tuple[Engine, Engine], tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    other = build_engine(BuildSpec(tiny_onnx, tmp_path, sizes=Sizes(Size(32, 32)), val=photos))
    with nstopt.load(other.path) as engine, pytest.raises(BundleError, match="at 48x64 with tiny at 32x32: build both"):
        list(compare(pair[1], engine, [photos / "0.png"]))


def test_a_missing_picture(pair: tuple[Engine, Engine], tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.png: no such picture"):
        list(compare(*pair, [tmp_path / "none.png"]))


def test_the_difference_is_amplified() -> None:
    left, right = np.full((2, 3, 3), 100, np.uint8), np.full((2, 3, 3), 102, np.uint8)
    right[0, 0] = 255
    both = side_by_side(left, right)
    assert both.shape == (2, 9, 3)
    assert both[1, 8].tolist() == [144] * 3
    assert both[0, 6].tolist() == [255] * 3
