"""Pairs of frames with exact flow: a photograph, and the same photograph smoothly warped.

This needs neither a flow data set nor an estimate. A smooth warp causes no occlusions, so only pixels that enter at the
border have no counterpart in the previous frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from nstopt.pictures.files import Picture
from nstopt.pictures.flow import Flow, Mask, inside, warp
from nstopt.train.photos import Crops

# Somewhat more than a hand-held camera's motion from frame to frame.
SHIFT = 0.03  # largest shift, as a share of the crop's side
TURN = 0.03  # largest rotation, in radians
ZOOM = 0.03  # largest change of scale, as a share
WAVE = 0.008  # standard deviation of the local distortion, as a share of the crop's side
KNOTS = 5  # grid points per side of the local distortion, which is interpolated between them
LIGHT = 0.1  # largest change of exposure, as a share
NOISE = 2.0  # standard deviation of sensor noise, in gray levels


class Pair(NamedTuple):
    """Two consecutive frames, uint8 [H, W, 3]; the flow from `frame` to `before`, and the mask where it holds."""

    frame: Picture
    before: Picture
    flow: Flow
    visible: Mask


class WarpedPairs:
    """Pairs made from crops of a folder of photographs; pair n depends on the seed and n alone."""

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        self._crops = Crops(folder, side, seed)

    def __getitem__(self, number: int) -> Pair:
        """Return pair `number`, from 0."""
        random = np.random.default_rng((self._crops.seed, 2, number))
        photo = self._crops[number]
        flow = random_flow(photo.shape[0], random)
        light = random.uniform(1 - LIGHT, 1 + LIGHT)
        return Pair(
            _film(warp(photo, flow) * light, random), _film(photo.astype(np.float32), random), flow, inside(flow)
        )


def _film(picture: NDArray[np.float32], random: np.random.Generator) -> Picture:
    noisy = picture + random.normal(0, NOISE, picture.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def random_flow(side: int, random: np.random.Generator) -> Flow:
    """Return a smooth random flow, float32 [2, side, side] in pixels.

    It is the sum of a shift, a rotation and a zoom about the center, and a local distortion.
    """
    angle, zoom = random.uniform(-TURN, TURN), random.uniform(-ZOOM, ZOOM)
    centered = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = np.meshgrid(centered, centered)
    shift = random.uniform(-SHIFT, SHIFT, 2) * side
    knots = random.normal(0, WAVE * side, (2, KNOTS, KNOTS)).astype(np.float32)
    uneven = [np.asarray(Image.fromarray(k).resize((side, side), Image.Resampling.BICUBIC)) for k in knots]
    flow = np.stack([zoom * x - angle * y + shift[0] + uneven[0], angle * x + zoom * y + shift[1] + uneven[1]])
    return flow.astype(np.float32)


def warp_batch(before: Tensor, flow: Tensor) -> Tensor:
    """Warp features of the previous frames, [N, C, h, w], along the flows of the frames, [N, 2, H, W] in pixels.

    A differentiable `flow.warp` of a batch. h and w may be smaller than H and W by an integer factor.
    """
    height, width = before.shape[2:]
    flow = functional.interpolate(flow, (height, width), mode="area") * (width / flow.shape[3])
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    # With align_corners, grid_sample's coordinates -1 and 1 are the centers of the first and the last pixel.
    places = torch.stack([(x + flow[:, 0]) / (width - 1), (y + flow[:, 1]) / (height - 1)], dim=-1) * 2 - 1
    return functional.grid_sample(before, places.to(before.dtype), padding_mode="border", align_corners=True)
