"""How far a picture is from the one FP32 gives: PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from nstopt.bundle import QualityInfo

Image = NDArray[np.uint8]
# Two equal pictures have no error, hence an infinite PSNR; JSON has no infinity.
PSNR_CAP_DB = 100.0


def psnr_db(left: Image, right: Image) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB: 10 log10(255² / mean squared error), at most 100."""
    error = float(((left.astype(np.float32) - right) ** 2).mean())
    return min(PSNR_CAP_DB, 10 * float(np.log10(255**2 / error))) if error else PSNR_CAP_DB


def ssim(left: Image, right: Image) -> float:
    """Structural similarity of two uint8 RGB pictures, 1 for equal ones (Wang et al. 2004,
    doi:10.1109/TIP.2003.819861)."""
    return float(structural_similarity(left, right, channel_axis=2, data_range=255))


def judge(
    source: str, pictures: Iterable[Image], engine: Callable[[Image], Image], reference: Callable[[Image], Image]
) -> QualityInfo:
    """Run both on each picture, uint8 [H, W, 3], and compare. There must be at least one picture."""
    pairs = [(engine(picture), reference(picture)) for picture in pictures]
    noise = [psnr_db(*pair) for pair in pairs]
    likeness = [ssim(*pair) for pair in pairs]
    return QualityInfo(
        source=source,
        pictures=len(pairs),
        psnr_db_mean=float(np.mean(noise)),
        psnr_db_worst=min(noise),
        ssim_mean=float(np.mean(likeness)),
        ssim_worst=min(likeness),
        max_grey_levels=max(int(np.abs(a.astype(np.int16) - b).max()) for a, b in pairs),
    )
