"""Training crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nstopt.errors import MediaError
from nstopt.train.photos import Crops, resize_shorter, to_picture, to_tensor

from .material import write_pictures


def test_crops_are_square_pictures(tmp_path: Path) -> None:
    crops = Crops(write_pictures(tmp_path), 32, seed=0)
    found = np.stack([crops[number] for number in range(5)])
    assert (found.shape, found.dtype.name) == ((5, 32, 32, 3), "uint8")
    assert found.min() < 100 < 150 < found.max()


def test_a_crop_depends_on_the_seed_and_its_number(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    first, same, other = (Crops(tmp_path, 32, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[1], [same[number] for number in (5, 4, 1)][-1])
    assert not np.array_equal(first[1], first[4])
    assert not np.array_equal(first[1], other[1])


def test_every_photograph_is_used_before_any_is_repeated(tmp_path: Path) -> None:
    for level in range(5):
        Image.new("RGB", (40, 40), (50 * level,) * 3).save(tmp_path / f"{level}.png")
    crops = Crops(tmp_path, 32, seed=0)
    levels = [int(crops[number].mean()) // 50 for number in range(10)]
    assert sorted(levels[:5]) == sorted(levels[5:]) == list(range(5))
    assert levels[:5] != levels[5:]


def test_resize_shorter_keeps_the_aspect() -> None:
    assert resize_shorter(np.zeros((40, 56, 3), np.uint8), 80).shape == (80, 112, 3)


def test_pictures_to_tensors_and_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    tensor = to_tensor(picture)
    assert (tensor.dtype, tensor.shape, tensor[0, 1, 2].item()) == (torch.float32, (3, 4, 5), picture[1, 2, 0])
    assert np.array_equal(to_picture(tensor + 0.4), picture)
    assert to_picture(torch.tensor([-9.0, 300.0, 7.5]).view(3, 1, 1)).tolist() == [[[0, 255, 8]]]


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no pictures to train on"):
        Crops(tmp_path, 32, seed=0)
    with pytest.raises(MediaError, match="no such folder"):
        Crops(tmp_path / "photos", 32, seed=0)
