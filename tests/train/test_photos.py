"""Training crops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nstopt.errors import MediaError
from nstopt.train.photos import Crops, resize_shorter

from .material import write_pictures


def test_crops_are_square_float_pictures_of_0_to_255(tmp_path: Path) -> None:
    batch = Crops(write_pictures(tmp_path), 32, seed=0).batch(5)
    assert batch.shape == (5, 3, 32, 32)
    assert batch.dtype == torch.float32
    assert 0 <= batch.min() < 100 < 150 < batch.max() <= 255


def test_a_seed_fixes_the_crops(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    first, same, other = (Crops(tmp_path, 32, seed).batch(4) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_resize_shorter_keeps_the_aspect(tmp_path: Path) -> None:
    photo = Crops(write_pictures(tmp_path), 32, seed=0).photos[0]
    assert resize_shorter(photo, 80).shape == (80, 112, 3)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no pictures to train on"):
        Crops(tmp_path, 32, seed=0)
    with pytest.raises(MediaError, match="no such folder"):
        Crops(tmp_path / "photos", 32, seed=0)
