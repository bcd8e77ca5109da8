"""A time stamp in the pixels of a frame, so that latency can be measured from what is shown.

The bar has one cell for each bit, the lowest bit at the left: black for 0, white for 1. Cells are wide, so that they
survive chroma subsampling and lossy codecs.
"""

from __future__ import annotations

import numpy as np

from nstopt.pictures.files import Picture

BITS = 24
# 24 bits of milliseconds wrap around after 4.7 hours.
PERIOD_MS = 1 << BITS
# The bar below a frame has this share of the frame's height.
SHARE = 24


def stamp(seconds: float) -> int:
    """Return the stamp of a time of time.monotonic(): milliseconds, modulo PERIOD_MS."""
    return round(seconds * 1000) % PERIOD_MS


def age_ms(stamped: int, seconds: float) -> int:
    """Return the milliseconds from a stamp to a time of time.monotonic()."""
    return (stamp(seconds) - stamped) % PERIOD_MS


def draw(region: Picture, stamped: int) -> None:
    """Draw a stamp over `region`, uint8 RGB [H, W, 3] with W ≥ BITS."""
    width = region.shape[1]
    bits = stamped >> (np.arange(width) * BITS // width) & 1
    region[:] = (bits * 255).astype(np.uint8)[None, :, None]


def read(region: Picture) -> int:
    """Return the stamp that is drawn over `region`, from the middle of each cell."""
    height, width = region.shape[:2]
    columns = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    bits = region[height // 2, columns].mean(axis=1) > 127
    return int((bits << np.arange(BITS)).sum())


def bar_height(height: int) -> int:
    """Return the height in pixels of the bar below a frame of an even height; even, as codecs want it."""
    return max(2, height // SHARE // 2 * 2)


def with_bar(picture: Picture, seconds: float) -> Picture:
    """Return `picture` with a bar of the time `seconds` below it. An odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    framed = np.empty((height + bar_height(height), width, 3), np.uint8)
    framed[:height] = picture[:height, :width]
    draw(framed[height:], stamp(seconds))
    return framed
