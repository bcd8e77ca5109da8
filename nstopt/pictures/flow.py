"""Optical flow between two frames: the former position of each pixel, and whether it was visible there.

A flow is float32 [2, H, W], in pixels, right and down: the pixel at (x, y) of a frame was at (x + flow[0], y + flow[1])
of the frame before. Flow is exact for frames made by a warp (train/warp.py); for videos it is estimated here.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray
from skimage.registration import optical_flow_tvl1
from skimage.transform import warp as resample

from nstopt.pictures.files import Picture

Flow = NDArray[np.float32]
Mask = NDArray[np.bool_]


def estimate(frame: Picture, before: Picture) -> tuple[Flow, Mask]:
    """Estimate the flow of `frame` and the mask where it holds, from two consecutive uint8 [H, W, 3] frames.

    TV-L1 (Zach, Pock & Bischof 2007), in both directions, which `visible` compares.
    """
    now, then = rgb2gray(frame), rgb2gray(before)
    backward, forward = _tvl1(now, then), _tvl1(then, now)
    return backward, visible(backward, forward)


def _tvl1(reference: NDArray[np.float64], moving: NDArray[np.float64]) -> Flow:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # divisions by zero in flat regions, which it repairs itself
        rows, columns = optical_flow_tvl1(reference, moving, dtype=np.float32)
    return np.stack([columns, rows])


def visible(backward: Flow, forward: Flow) -> Mask:
    """Mask of the pixels that were visible in the frame before, bool [H, W].

    A visible pixel lies inside the frame before, and the flow back and forth again leads close to where it started:

    |w_b + w_f(x + w_b)|^2 < 0.01 (|w_b|^2 + |w_f|^2) + 0.5. Ruder et al. 2016, arXiv:1604.08610, section 4.2; their
    condition on motion boundaries is `boundaries`.
    """
    there = np.stack([_sample(channel, backward) for channel in forward])
    error = np.square(backward + there).sum(axis=0)
    length = np.square(backward).sum(axis=0) + np.square(there).sum(axis=0)
    mask: Mask = (error < 0.01 * length + 0.5) & inside(backward)
    return mask


def boundaries(flow: Flow) -> Mask:
    """Mask of the pixels where the motion changes abruptly, at the outlines of moving things, bool [H, W].

    |grad u|^2 + |grad v|^2 > 0.01 |w|^2 + 0.002. Ruder et al. 2016, section 4.2.
    """
    slopes = sum(np.square(slope) for channel in flow for slope in np.gradient(channel))
    mask: Mask = slopes > 0.01 * np.square(flow).sum(axis=0) + 0.002
    return mask


def inside(flow: Flow) -> Mask:
    """Mask of the pixels whose flow points into the picture, bool [H, W]."""
    height, width = flow.shape[1:]
    x, y = places(flow)
    inside_: Mask = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside_


def warp(before: NDArray[np.generic], flow: Flow) -> NDArray[np.float32]:
    """Warp the frame before, [H, W, C], onto the present one: bilinear, edge pixels repeated beyond the border."""
    channels = [_sample(before[..., channel], flow) for channel in range(before.shape[2])]
    return np.stack(channels, axis=-1)


def _sample(channel: NDArray[np.generic], flow: Flow) -> NDArray[np.float32]:
    x, y = places(flow)
    sampled: NDArray[np.float32] = resample(channel.astype(np.float32), np.stack([y, x]), order=1, mode="edge")
    return sampled


def places(flow: Flow) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the places that a flow points to: x and y, float32 [H, W]."""
    height, width = flow.shape[1:]
    return flow[0] + np.arange(width, dtype=np.float32), flow[1] + np.arange(height, dtype=np.float32)[:, None]
