"""Measure the flicker of stylized video: the change between frames that motion does not explain."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nstopt.engines import load
from nstopt.errors import MediaError
from nstopt.media.sizes import common_sizes
from nstopt.media.stylize import stylize
from nstopt.pictures.files import Picture, cover, resize
from nstopt.pictures.flow import Flow, Mask, estimate, warp
from nstopt.pictures.size import Size, Sizes
from nstopt.pictures.video import frames
from nstopt.progress import Progress, Silent

FRAMES = 30
# Shorter side, in pixels, at which flow is estimated. TV-L1 takes half a second for a pair of frames there.
FLOW_SIDE = 160


@dataclass(frozen=True)
class Clip:
    """Consecutive frames, uint8 RGB [H, W, 3]. For each frame but the first: `flows`, the motion to the frame before
    it, float32 [2, H, W] in pixels, and `visible`, bool [H, W], where that motion holds."""

    name: str
    pictures: tuple[Picture, ...]
    flows: tuple[Flow, ...]
    visible: tuple[Mask, ...]


class Flicker(NamedTuple):
    """`warping_error` and `contrast` (standard deviation of the pictures' values), both in gray levels. Pictures of low
    contrast have a low error too, so neither number means much without the other."""

    warping_error: float
    contrast: float

    @property
    def share(self) -> float:
        """Error over contrast, which is comparable between nets of different contrast."""
        return self.warping_error / self.contrast if self.contrast else 0.0


def measure(engines: Sequence[Path], path: Path, progress: Progress | None = None) -> list[tuple[str, Flicker]]:
    """Measure the flicker of the first FRAMES frames of a video, as they are and stylized by each engine bundle.

    Returns names and flicker, the clip itself first. Frames of a size that not all engines take are cropped and scaled
    to one that they do. Raises MediaError if the video cannot be read, BundleError for a bad bundle or if the engines
    take no common size.
    """
    with contextlib.ExitStack() as opened:
        loaded = [opened.enter_context(load(engine)) for engine in engines]
        clip = read_clip(path, common_sizes(loaded), FRAMES, progress)
        rows = [("the clip itself", flicker(clip, lambda picture: picture))]
        for bundle, engine in zip(engines, loaded, strict=True):
            rows.append((bundle.stem, flicker(clip, functools.partial(stylize, engine), progress)))
    return rows


def read_clip(path: Path, sizes: Sizes, count: int, progress: Progress | None = None) -> Clip:
    """Read the first `count` frames of a video, cropped and scaled to the nearest of `sizes`, and estimate their flow.

    Raises MediaError if the video cannot be read or has fewer than two frames.
    """
    read = itertools.islice(frames(path), count)
    pictures = tuple(cover(picture, sizes.nearest(*picture.shape[:2])) for picture in read)
    if len(pictures) < 2:
        raise MediaError(f"{path}: one frame cannot flicker; give a video of two or more")
    pairs = (progress or Silent()).track(itertools.pairwise(pictures), len(pictures) - 1, "estimating motion")
    found = [_estimate(frame, before) for before, frame in pairs]
    return Clip(path.name, pictures, tuple(flow for flow, _ in found), tuple(mask for _, mask in found))


def _estimate(frame: Picture, before: Picture) -> tuple[Flow, Mask]:
    """Return flow and visibility of the frame's own size, estimated at FLOW_SIDE."""
    height, width = frame.shape[:2]
    scale = min(1.0, FLOW_SIDE / min(height, width))
    small = Size(round(height * scale), round(width * scale))
    flow, visible = estimate(resize(frame, small), resize(before, small))
    lengths = (width / small.width, height / small.height)
    large = [
        np.asarray(_resize(channel, width, height)) * length for channel, length in zip(flow, lengths, strict=True)
    ]
    mask = np.asarray(_resize(visible.astype(np.float32), width, height)) > 0.99
    return np.stack(large).astype(np.float32), mask


def _resize(channel: np.ndarray[tuple[int, ...], np.dtype[np.float32]], width: int, height: int) -> Image.Image:
    return Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR)


def flicker(clip: Clip, stylize: Callable[[Picture], Picture], progress: Progress | None = None) -> Flicker:
    """Measure the flicker of the clip after `stylize`, which maps a frame, uint8 RGB [H, W, 3], to another one.

    The warping error is e_stab = sqrt(1/(T-1) sum_t 1/D sum M_t ||O_t - W_t(O_{t-1})||^2) with D the number of values
    of a frame: Gao et al. 2018, arXiv:1807.01197, equation 7. Here D counts only the values that the mask M_t keeps, so
    that clips with more occlusion do not appear calmer.
    """
    track = (progress or Silent()).track(clip.pictures, len(clip.pictures), "stylizing")
    stylized = [stylize(picture) for picture in track]
    errors = [
        _error(frame, before, flow, visible)
        for (before, frame), flow, visible in zip(itertools.pairwise(stylized), clip.flows, clip.visible, strict=True)
    ]
    return Flicker(float(np.sqrt(np.mean(errors))), float(np.mean([picture.std() for picture in stylized])))


def _error(frame: Picture, before: Picture, flow: Flow, visible: Mask) -> float:
    """Return the mean square of the difference that the flow does not explain, over the visible pixels."""
    if not visible.any():
        return 0.0
    squares = np.square(frame.astype(np.float32) - warp(before, flow)).mean(axis=2)
    return float(squares[visible].mean())
