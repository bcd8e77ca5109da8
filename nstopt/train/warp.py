"""Pairs of frames whose flow is known exactly: a photograph, and the same photograph smoothly warped.

No flow data set is needed, and no estimate is wrong. A smooth warp hides nothing, so only what comes in over the
border has no place in the frame before.
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

# As shares of the crop's side, and of 1: what a hand-held camera does from frame to frame, and some more.
SHIFT = 0.03
TURN = 0.03  # radians
ZOOM = 0.03
WAVE = 0.008  # of the smooth, uneven part
KNOTS = 5  # a side, between which that part is smooth
LIGHT = 0.1  # the exposure changes by up to this share
NOISE = 2.0  # deviation of a sensor's noise, in gray levels


class Pair(NamedTuple):
    """Two frames that follow each other, uint8 [H, W, 3]; the flow of the later one, and where that holds."""

    frame: Picture
    before: Picture
    flow: Flow
    visible: Mask


class WarpedPairs:
    """Pairs made of the crops of a folder of photographs; pair n is a function of the seed and n alone."""

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        self._crops = Crops(folder, side, seed)

    def __getitem__(self, number: int) -> Pair:
        """Pair `number`, from 0."""
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
    """A smooth random flow [2, side, side]: a shift, a turn and a zoom about the center, and an uneven part."""
    angle, zoom = random.uniform(-TURN, TURN), random.uniform(-ZOOM, ZOOM)
    centered = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = np.meshgrid(centered, centered)
    shift = random.uniform(-SHIFT, SHIFT, 2) * side
    knots = random.normal(0, WAVE * side, (2, KNOTS, KNOTS)).astype(np.float32)
    uneven = [np.asarray(Image.fromarray(k).resize((side, side), Image.Resampling.BICUBIC)) for k in knots]
    flow = np.stack([zoom * x - angle * y + shift[0] + uneven[0], angle * x + zoom * y + shift[1] + uneven[1]])
    return flow.astype(np.float32)


def warp_batch(before: Tensor, flow: Tensor) -> Tensor:
    """`flow.warp` of a batch, differentiably: features [N, C, h, w] of the frames before, moved along the flows
    [N, 2, H, W] of the frames; h and w may be smaller by a whole factor."""
    height, width = before.shape[2:]
    flow = functional.interpolate(flow, (height, width), mode="area") * (width / flow.shape[3])
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    # grid_sample counts from -1 to 1, here from the center of the first pixel to that of the last.
    places = torch.stack([(x + flow[:, 0]) / (width - 1), (y + flow[:, 1]) / (height - 1)], dim=-1) * 2 - 1
    return functional.grid_sample(before, places.to(before.dtype), padding_mode="border", align_corners=True)
