"""Measure how far apart two engines are on the same pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nstopt.calib.quality import psnr_db, ssim
from nstopt.engines.engine import Engine
from nstopt.media.sizes import common_sizes
from nstopt.media.stylize import stylize
from nstopt.pictures.files import Picture, cover, read_picture

# Amplification of differences in the picture that shows them, because a single gray level is hard to see.
GAIN = 8


class PictureDifference(NamedTuple):
    """The difference on one picture: PSNR in dB, at most 100, SSIM, and the largest difference in gray levels."""

    picture: Path
    psnr_db: float
    ssim: float
    max_gray_levels: int


def compare(left: Engine, right: Engine, pictures: Iterable[Path]) -> Iterator[PictureDifference]:
    """Compare two engines picture by picture.

    See `stylize_both` for the size. Raises BundleError if the engines take no common size, MediaError if a picture
    cannot be read.
    """
    for picture in pictures:
        a, b = stylize_both(left, right, picture)
        largest = int(np.abs(a.astype(np.int16) - b).max())
        yield PictureDifference(picture, psnr_db(a, b), ssim(a, b), largest)


def stylize_both(left: Engine, right: Engine, picture: Path) -> tuple[Picture, Picture]:
    """Stylize one picture with both engines; returns two arrays, uint8 RGB [H, W, 3] of one size.

    The size is the picture's own if both engines take it. Otherwise the picture is cropped to the aspect of the
    nearest size that both take, and scaled to it. Raises BundleError if there is none, MediaError if the picture cannot
    be read.
    """
    decoded = read_picture(picture).rgb
    size = common_sizes([left, right]).nearest(*decoded.shape[:2])
    return stylize(left, cover(decoded, size)), stylize(right, cover(decoded, size))


def worst_first(found: Iterable[PictureDifference]) -> list[PictureDifference]:
    """Sort by PSNR, then by SSIM, the lowest first."""
    return sorted(found, key=lambda one: (one.psnr_db, one.ssim))


def difference_panels(left: Picture, right: Picture) -> Picture:
    """Return left, right, and their difference around mid gray, amplified by GAIN, side by side: uint8 [H, W, 3] each,
    [H, 3 W, 3] together."""
    difference = 128 + GAIN * (right.astype(np.int16) - left)
    panels: Sequence[Picture] = (left, right, difference.clip(0, 255).astype(np.uint8))
    return np.concatenate(panels, axis=1)
