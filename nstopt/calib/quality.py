"""How far pictures are from those FP32 gives: PSNR and SSIM, at the border and inside; and over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from nstopt.bundle import DriftInfo, QualityInfo

Picture = NDArray[np.uint8]
# Two equal pictures have no error, hence an infinite PSNR; JSON has no infinity.
PSNR_CAP_DB = 100.0
# The width of what the paddings of all layers can reach is more; most of what they change is here.
BORDER = 16


def psnr_db(left: Picture, right: Picture) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB: 10 log10(255² / mean squared error), at most 100."""
    return _decibels(float(((left.astype(np.float32) - right) ** 2).mean()))


def _decibels(mean_squared_error: float) -> float:
    return min(PSNR_CAP_DB, 10 * float(np.log10(255**2 / mean_squared_error))) if mean_squared_error else PSNR_CAP_DB


def ssim(left: Picture, right: Picture) -> float:
    """Structural similarity of two uint8 RGB pictures, 1 for equal ones (Wang et al. 2004,
    doi:10.1109/TIP.2003.819861)."""
    return float(structural_similarity(left, right, channel_axis=2, data_range=255))


def judge(
    source: str,
    pictures: Iterable[Picture],
    engine: Callable[[Picture], Picture],
    reference: Callable[[Picture], Picture],
) -> QualityInfo:
    """Run both on each picture, uint8 [H, W, 3], and compare. There must be at least one picture."""
    pairs = [(engine(picture), reference(picture)) for picture in pictures]
    noise = [psnr_db(*pair) for pair in pairs]
    likeness = [ssim(*pair) for pair in pairs]
    parts = [split_psnr_db(*pair) for pair in pairs]
    return QualityInfo(
        source=source,
        pictures=len(pairs),
        psnr_db_mean=float(np.mean(noise)),
        psnr_db_worst=min(noise),
        ssim_mean=float(np.mean(likeness)),
        ssim_worst=min(likeness),
        max_gray_levels=max(int(np.abs(a.astype(np.int16) - b).max()) for a, b in pairs),
        psnr_db_border=float(np.mean([border for border, _ in parts])),
        psnr_db_interior=float(np.mean([interior for _, interior in parts])),
    )


def split_psnr_db(left: Picture, right: Picture) -> tuple[float, float]:
    """PSNR in dB of the border, BORDER pixels wide (or a quarter of the shorter side), and of what it encloses: wrong
    padding shows in the one and hardly in the whole."""
    width = min(BORDER, min(left.shape[:2]) // 4)
    inside = np.zeros(left.shape[:2], bool)
    inside[width:-width, width:-width] = True
    return psnr_db(left[~inside], right[~inside]), psnr_db(left[inside], right[inside])


def drift(
    source: str,
    sha256: str,
    frames: Iterable[Picture],
    engine: Callable[[Picture], Picture],
    reference: Callable[[Picture], Picture],
) -> DriftInfo:
    """Run both on consecutive frames, uint8 [H, W, 3], at least two, and compare the frames and how they change."""
    noise: list[float] = []
    changes: list[float] = []
    before: NDArray[np.float32] | None = None
    for frame in frames:
        ours, exact = engine(frame), reference(frame)
        noise.append(psnr_db(ours, exact))
        error = ours.astype(np.float32) - exact
        if before is not None:
            changes.append(float(((error - before) ** 2).mean()))
        before = error
    change = float(np.mean(changes))
    return DriftInfo(
        source=source,
        sha256=sha256,
        frames=len(noise),
        psnr_db_mean=float(np.mean(noise)),
        psnr_db_worst=min(noise),
        flicker_psnr_db=_decibels(change),
    )
