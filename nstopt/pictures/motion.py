"""Motion between frames in real time: where a frame's pixels were in the frame before, and how far that can be trusted.

`flow.py` estimates the same a hundred times slower, by another method, and judges: a result is not measured by the
motion that it was made with.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nstopt.pictures.files import Picture
from nstopt.pictures.flow import Flow, inside, places

# Shorter side, in pixels, at which motion is estimated. On ordinary clips, half of it doubles the error.
MOTION_SIDE = 240
# Decay of the trust with the squared difference of the colors, which are 0..1.
DECAY = 50.0

Weights = NDArray[np.float32]


class Motion(NamedTuple):
    """`flow`, float32 [2, h, w] in pixels, as in `flow.py`; `trust`, float32 [h, w] in 0..1."""

    flow: Flow
    trust: Weights


def shrink(frame: Picture) -> Picture:
    """Return a frame, uint8 RGB [H, W, 3], at the size at which motion is estimated."""
    height, width = frame.shape[:2]
    scale = min(1.0, MOTION_SIDE / min(height, width))
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def estimate_motion(frame: Picture, before: Picture) -> Motion:
    """Estimate the motion of `frame` from two consecutive frames, uint8 RGB [h, w, 3] of one size.

    Flow by dense inverse search (DIS; Kroeger et al. 2016, arXiv:1603.03590). Trust as in Lai et al. 2018,
    arXiv:1808.00449, section 3.2: exp(-50 ||I_t - W(I_{t-1})||^2), and 0 for what comes from outside the picture.
    """
    now, then = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (frame, before))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.moveaxis(np.asarray(search.calc(now, then, np.empty(0, np.float32)), np.float32), 2, 0)
    squares = np.square((frame - _warp(before, flow)) / 255).sum(axis=2)
    return Motion(flow, np.exp(-DECAY * squares) * inside(flow))


def carry(picture: Picture, motion: Motion) -> tuple[NDArray[np.float32], Weights]:
    """Warp the picture of the frame before, uint8 [H, W, 3] of any size, onto the present frame. Returns it, float32 in
    gray levels, and the trust in each pixel, float32 [H, W, 1]."""
    height, width = picture.shape[:2]
    rows, columns = motion.trust.shape
    flow, trust = (
        np.asarray(cv2.resize(one, (width, height)), np.float32)
        for one in (np.moveaxis(motion.flow, 0, 2), motion.trust)
    )
    lengths = np.array([width / columns, height / rows], np.float32)
    return _warp(picture, np.moveaxis(flow * lengths, 2, 0)), trust[..., None]


def _warp(picture: Picture, flow: Flow) -> NDArray[np.float32]:
    """Return what `flow.warp` does, to 1/32 of a pixel."""
    warped = cv2.remap(picture.astype(np.float32), *places(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.float32)
