"""Photographs as an endless row of training crops. Crop n is a function of the seed and n alone: a training that goes
on after a kill, or on several processes, needs no more than its step to find its place."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nstopt.errors import MediaError
from nstopt.pictures.files import Picture, list_pictures, read_picture, resize
from nstopt.pictures.size import Size

LARGEST_SCALE = 2.0  # the shorter side of a photograph is between one and two crops long when it is cut
KEPT = 512  # photographs in memory


class Crops:
    """Square crops of the photographs of a folder, at random places and scales, half of them mirrored.

    Raises MediaError if the folder is missing or holds no picture; later, if a picture cannot be read.
    """

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        self.photos = list_pictures(folder)
        if not self.photos:
            raise MediaError(f"{folder}: no pictures to train on; put photographs (.jpg, .png) there")
        self.side, self.seed = side, seed

    def __getitem__(self, number: int) -> Picture:
        """Crop `number`, from 0, uint8 [side, side, 3]. Every photograph is used once before any is used again."""
        round_, place = divmod(number, len(self.photos))
        order = np.random.default_rng((self.seed, 0, round_)).permutation(len(self.photos))
        random = np.random.default_rng((self.seed, 1, number))
        shorter = round(self.side * random.uniform(1.0, LARGEST_SCALE))
        scaled = resize_shorter(_read(self.photos[order[place]], round(self.side * LARGEST_SCALE)), shorter)
        top = int(random.integers(scaled.shape[0] - self.side + 1))
        left = int(random.integers(scaled.shape[1] - self.side + 1))
        crop = scaled[top : top + self.side, left : left + self.side]
        return crop[:, ::-1] if random.random() < 0.5 else crop


@functools.lru_cache(KEPT)
def _read(path: Path, largest: int) -> Picture:
    """A photograph, made smaller where its shorter side is longer than any crop needs: cameras make large ones."""
    rgb = read_picture(path).rgb
    return resize_shorter(rgb, largest) if min(rgb.shape[:2]) > largest else rgb


def resize_shorter(rgb: Picture, shorter: int) -> Picture:
    """`rgb` uint8 [H, W, 3] resampled so that its shorter side is `shorter` pixels, its aspect kept."""
    height, width = rgb.shape[:2]
    scale = shorter / min(height, width)
    return resize(rgb, Size(max(shorter, round(height * scale)), max(shorter, round(width * scale))))


def to_tensor(rgb: Picture) -> Tensor:
    """uint8 [H, W, 3] to float32 [3, H, W], still 0..255."""
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).to(torch.float32)


def to_rgb(picture: Tensor) -> Picture:
    """float [3, H, W], about 0..255, to uint8 [H, W, 3]."""
    rgb: Picture = picture.detach().float().round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return rgb
