"""PSNR, SSIM and drift."""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
from conftest import noise
from skimage.metrics import peak_signal_noise_ratio

from nstopt.calib.quality import BORDER, PSNR_CAP_DB, drift, judge, psnr_db, split_psnr_db, ssim
from nstopt.pictures.files import Picture


@dataclass
class Shift:
    """Halves a picture and makes it brighter by some gray levels."""

    levels: int

    def __call__(self, picture: Picture) -> Picture:
        return (picture // 2 + self.levels).astype(np.uint8)


def test_psnr_follows_its_formula() -> None:
    left, right = noise(20, 30), noise(20, 30, 1)
    mse = np.mean([(int(a) - int(b)) ** 2 for a, b in zip(left.ravel(), right.ravel(), strict=True)])
    assert psnr_db(left, right) == pytest.approx(10 * np.log10(255 * 255 / mse), rel=1e-6)
    assert psnr_db(left, right) == pytest.approx(peak_signal_noise_ratio(left, right), rel=1e-6)
    assert psnr_db(left, right) == psnr_db(right, left)


def test_equal_pictures() -> None:
    assert psnr_db(noise(20, 30), noise(20, 30)) == PSNR_CAP_DB == 100
    assert ssim(noise(20, 30), noise(20, 30)) == pytest.approx(1)


def test_black_and_white() -> None:
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert psnr_db(black, white) == pytest.approx(0, abs=1e-6)
    assert ssim(black, white) < 0.01


def test_one_wrong_value_in_a_large_picture_counts() -> None:
    left = np.zeros((2000, 1000, 3), np.uint8)
    right = left.copy()
    right[5, 5, 1] = 1
    assert psnr_db(left, right) == pytest.approx(10 * np.log10(255**2 * left.size), abs=1e-3) or (
        psnr_db(left, right) == 100
    )


def test_mean_and_worst_differ(photographs: list[Picture]) -> None:
    shifts = iter([1, 3, 7, 0, 2, 1])
    quality = judge("photos", photographs, lambda picture: Shift(next(shifts))(picture), Shift(0))
    each = [min(100, 20 * np.log10(255 / shift)) if shift else 100 for shift in (1, 3, 7, 0, 2, 1)]
    assert quality.psnr_db_mean == pytest.approx(np.mean(each), rel=1e-6)
    assert quality.psnr_db_worst == pytest.approx(20 * np.log10(255 / 7), rel=1e-6)
    assert quality.ssim_worst < quality.ssim_mean < 1
    assert (quality.source, quality.pictures, quality.max_gray_levels) == ("photos", 6, 7)
    json.loads(msgspec.json.encode(quality))


def test_the_border_is_measured_apart() -> None:
    left = noise(80, 90)
    right = left.copy()
    right[0, 0] ^= 255
    border, interior = split_psnr_db(left, right)
    assert interior == PSNR_CAP_DB
    area = 80 * 90 - (80 - 2 * BORDER) * (90 - 2 * BORDER)
    mse = float(((left.astype(float) - right)[0, 0] ** 2).sum()) / (3 * area)
    assert border == pytest.approx(10 * np.log10(255**2 / mse), rel=1e-5)


def test_drift_measures_the_change_of_the_error() -> None:
    """A constant error is no drift; an error that comes and goes is."""
    frames = [np.full((30, 30, 3), level, np.uint8) for level in (10, 20, 30, 40)]
    still = drift("clip", "hash", frames, lambda frame: frame + np.uint8(2), lambda frame: frame)
    assert (still.frames, still.flicker_psnr_db) == (4, PSNR_CAP_DB)
    assert still.psnr_db_mean == still.psnr_db_worst == pytest.approx(10 * np.log10(255**2 / 4))
    jumping = iter((0, 3, 0, 3))
    moving = drift("clip", "hash", frames, lambda frame: frame + np.uint8(next(jumping)), lambda frame: frame)
    assert moving.flicker_psnr_db == pytest.approx(10 * np.log10(255**2 / 9))
