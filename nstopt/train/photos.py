"""An endless sequence of training crops from a folder of photographs.

Crop n depends on the seed and n alone, so a resumed training, or one of several processes, only needs its step to
continue the sequence.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nstopt.errors import MediaError
from nstopt.pictures.files import Picture, list_pictures, read_picture, resize
from nstopt.pictures.size import Size

LARGEST_SCALE = 2.0  # before it is cut, a photograph's shorter side is resized to one to two crops
KEPT = 512  # photographs cached in memory


class Crops:
    """Square crops of the photographs of a folder, at random positions and scales, half of them mirrored.

    Raises MediaError if the folder is missing or holds no picture.
    """

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        self.photos = list_pictures(folder)
        if not self.photos:
            raise MediaError(f"{folder}: no pictures to train on; put photographs (.jpg, .png) there")
        self.side, self.seed = side, seed

    def __getitem__(self, number: int) -> Picture:
        """Return crop `number`, from 0, uint8 [side, side, 3]. Every photograph is used once before any is repeated.

        Raises MediaError if the photograph cannot be read.
        """
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
    """Read a photograph; shrink it, to save memory, if its shorter side exceeds `largest`, which no crop exceeds."""
    picture = read_picture(path).rgb
    return resize_shorter(picture, largest) if min(picture.shape[:2]) > largest else picture


def resize_shorter(picture: Picture, shorter: int) -> Picture:
    """Resize uint8 [H, W, 3] to a shorter side of `shorter` pixels; keep the aspect ratio."""
    height, width = picture.shape[:2]
    scale = shorter / min(height, width)
    return resize(picture, Size(max(shorter, round(height * scale)), max(shorter, round(width * scale))))


def to_tensor(picture: Picture) -> Tensor:
    """Convert uint8 [H, W, 3] to float32 [3, H, W] in 0..255."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).to(torch.float32)


def to_picture(tensor: Tensor) -> Picture:
    """Convert float [3, H, W] in 0..255, with values outside clipped, to uint8 [H, W, 3]."""
    picture: Picture = tensor.detach().float().round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return picture
