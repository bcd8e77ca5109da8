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
from nstopt.pictures.flow import Flow, Mask, boundaries, estimate, warp
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
    """The flicker of a clip. `warping_error` and `contrast` (standard deviation of the pictures' values) are in gray
    levels; `e_warp` (Lai et al.) and `e_stab` (ReCoNet) are the published measures, for values in 0..1. Pictures of low
    contrast have low errors too, so no error means much without the contrast."""

    warping_error: float
    contrast: float
    e_warp: float
    e_stab: float

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
    """Measure the flicker of the clip after `stylize`, which maps a frame, uint8 RGB [H, W, 3], to another one. It is
    called once for each frame, in order.

    All errors come from the squares S_t = ||O_t - W_t(O_{t-1})||^2 / 3 of each pixel, M_t of which are visible:

    - e_stab = sqrt(mean_t mean M_t S_t), over all pixels, values in 0..1: Gao et al. 2018, arXiv:1807.01197, eq. 7.
    - warping error = sqrt(mean_t (sum M_t S_t / sum M_t)), in gray levels: e_stab over the visible pixels alone, so
      that clips with more occlusion do not appear calmer.
    - E_warp = mean_t (sum N_t S_t / sum N_t), values in 0..1, no root: Lai et al. 2018, arXiv:1808.00449, section 4.
      Their mask N_t leaves out motion boundaries too. The mean over the channels is that of the authors' program.
    """
    track = (progress or Silent()).track(clip.pictures, len(clip.pictures), "stylizing")
    stylized = [stylize(picture) for picture in track]
    errors = [
        _errors(frame, before, flow, visible)
        for (before, frame), flow, visible in zip(itertools.pairwise(stylized), clip.flows, clip.visible, strict=True)
    ]
    over_visible, over_all, without_boundaries = np.mean(errors, axis=0)
    return Flicker(
        warping_error=float(np.sqrt(over_visible)),
        contrast=float(np.mean([picture.std() for picture in stylized])),
        e_warp=float(without_boundaries) / 255**2,
        e_stab=float(np.sqrt(over_all)) / 255,
    )


def _errors(frame: Picture, before: Picture, flow: Flow, visible: Mask) -> tuple[float, float, float]:
    """Return the mean squares, in gray levels, of the difference that the flow does not explain: over the visible
    pixels, over all pixels with invisible ones as zeros, and over the visible ones away from motion boundaries."""
    squares = np.square(frame.astype(np.float32) - warp(before, flow)).mean(axis=2)
    return _mean(squares, visible), float((squares * visible).mean()), _mean(squares, visible & ~boundaries(flow))


def _mean(squares: np.ndarray[tuple[int, ...], np.dtype[np.float32]], mask: Mask) -> float:
    return float(squares[mask].mean()) if mask.any() else 0.0
