"""Two engines on the same pictures: how far apart they are, the worst picture first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nstopt.calib.quality import psnr_db, ssim
from nstopt.engines.base import Engine
from nstopt.errors import BundleError
from nstopt.media.stylize import stylize
from nstopt.pictures.files import Picture, cover, read_picture

# How much a difference is amplified in the picture of it: a gray level is hard to see.
GAIN = 8


class PictureDifference(NamedTuple):
    """One picture: PSNR in dB, at most 100, SSIM, and the largest difference in gray levels."""

    picture: Path
    psnr_db: float
    ssim: float
    max_gray_levels: int


def compare(left: Engine, right: Engine, pictures: Iterable[Path]) -> Iterator[PictureDifference]:
    """Compare two engines picture by picture.

    A picture is cropped to the aspect of a fixed size and scaled to it. Raises BundleError if both sizes are fixed and
    differ, MediaError if a picture cannot be read.
    """
    for picture in pictures:
        a, b = stylized(left, right, picture)
        largest = int(np.abs(a.astype(np.int16) - b).max())
        yield PictureDifference(picture, psnr_db(a, b), ssim(a, b), largest)


def stylized(left: Engine, right: Engine, picture: Path) -> tuple[Picture, Picture]:
    """What either engine makes of a picture, uint8 RGB of one size."""
    sizes = [size for size in (left.shape.sizes.only, right.shape.sizes.only) if size is not None]
    if len(set(sizes)) > 1:
        raise BundleError(
            f"cannot compare {left.name} at {sizes[0]} with {right.name} at {sizes[1]}: build both for one size"
        )
    rgb = read_picture(picture).rgb
    if sizes:
        rgb = cover(rgb, sizes[0])
    return stylize(left, rgb)[0], stylize(right, rgb)[0]


def worst_first(found: Iterable[PictureDifference]) -> list[PictureDifference]:
    """By PSNR, then by SSIM."""
    return sorted(found, key=lambda one: (one.psnr_db, one.ssim))


def side_by_side(left: Picture, right: Picture) -> Picture:
    """Left, right, and their difference around mid gray, amplified eight times."""
    difference = 128 + GAIN * (right.astype(np.int16) - left)
    panels: Sequence[Picture] = (left, right, difference.clip(0, 255).astype(np.uint8))
    return np.concatenate(panels, axis=1)
