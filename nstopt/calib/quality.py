"""Distance of an engine's pictures from those of the FP32 net: PSNR and SSIM, at the border and inside, and over
time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from nstopt.manifest import DriftInfo, QualityInfo
from nstopt.pictures.files import Picture

# Equal pictures have no error, hence an infinite PSNR, and JSON has no infinity.
PSNR_CAP_DB = 100.0
# The paddings of all layers together reach further; most of what they change lies in these pixels.
BORDER = 16


def psnr_db(left: Picture, right: Picture) -> float:
    """Peak signal-to-noise ratio of two uint8 pictures in dB: 10 log10(255² / mean squared error), at most 100."""
    return _decibels(float(((left.astype(np.float32) - right) ** 2).mean()))


def _decibels(mean_squared_error: float) -> float:
    return min(PSNR_CAP_DB, 10 * float(np.log10(255**2 / mean_squared_error))) if mean_squared_error else PSNR_CAP_DB


def ssim(left: Picture, right: Picture) -> float:
    """Structural similarity of two pictures, uint8 RGB [H, W, 3]; 1 for equal ones (Wang et al. 2004,
    doi:10.1109/TIP.2003.819861)."""
    return float(structural_similarity(left, right, channel_axis=2, data_range=255))


def judge(
    source: str,
    pictures: Iterable[Picture],
    engine: Callable[[Picture], Picture],
    reference: Callable[[Picture], Picture],
) -> QualityInfo:
    """Measure the quality of an engine: run it and the reference on validation pictures, uint8 [H, W, 3], at least one,
    and compare the results. `source` names the pictures in the record."""
    pairs = [(engine(picture), reference(picture)) for picture in pictures]
    psnr = [psnr_db(*pair) for pair in pairs]
    similarity = [ssim(*pair) for pair in pairs]
    parts = [split_psnr_db(*pair) for pair in pairs]
    return QualityInfo(
        source=source,
        pictures=len(pairs),
        psnr_db_mean=float(np.mean(psnr)),
        psnr_db_worst=min(psnr),
        ssim_mean=float(np.mean(similarity)),
        ssim_worst=min(similarity),
        max_gray_levels=max(int(np.abs(a.astype(np.int16) - b).max()) for a, b in pairs),
        psnr_db_border=float(np.mean([border for border, _ in parts])),
        psnr_db_interior=float(np.mean([interior for _, interior in parts])),
    )


def split_psnr_db(left: Picture, right: Picture) -> tuple[float, float]:
    """Return the PSNR in dB of the border and of the interior of two pictures, uint8 [H, W, 3].

    The border is BORDER pixels wide, or a quarter of the shorter side if that is less. Wrong padding shows there and
    hardly in the PSNR of the whole picture.
    """
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
    """Run an engine and the reference on consecutive frames, uint8 [H, W, 3], at least two, and compare the results and
    how they change from frame to frame. `source` and `sha256` name the clip in the record."""
    psnr: list[float] = []
    changes: list[float] = []
    before: NDArray[np.float32] | None = None
    for frame in frames:
        ours, exact = engine(frame), reference(frame)
        psnr.append(psnr_db(ours, exact))
        error = ours.astype(np.float32) - exact
        if before is not None:
            changes.append(float(((error - before) ** 2).mean()))
        before = error
    change = float(np.mean(changes))
    return DriftInfo(
        source=source,
        sha256=sha256,
        frames=len(psnr),
        psnr_db_mean=float(np.mean(psnr)),
        psnr_db_worst=min(psnr),
        flicker_psnr_db=_decibels(change),
    )
