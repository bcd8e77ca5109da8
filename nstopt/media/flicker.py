"""How much stylized video flickers, as a number: what changes between frames that the motion does not explain."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nstopt.engines import load
from nstopt.engines.base import Engine
from nstopt.errors import BundleError, MediaError
from nstopt.media.stylize import stylize
from nstopt.pictures.files import Picture, cover, resize
from nstopt.pictures.flow import Flow, Mask, estimate, warp
from nstopt.pictures.size import Size
from nstopt.pictures.video import frames
from nstopt.progress import Progress, Silent

FRAMES = 30
FLOW_SIDE = 160  # the shorter side at which flow is estimated, in pixels: TV-L1 takes half a second a pair there


@dataclass(frozen=True)
class Clip:
    """Frames that follow each other, uint8 [H, W, 3]; and for each but the first its flow and where that holds."""

    name: str
    pictures: tuple[Picture, ...]
    flows: tuple[Flow, ...]
    visible: tuple[Mask, ...]


class Flicker(NamedTuple):
    """`warping_error` and `contrast` (standard deviation of the pictures' values), in gray levels. Less contrast makes
    less error, so neither means much without the other."""

    warping_error: float
    contrast: float

    @property
    def share(self) -> float:
        """Error over contrast, by which nets of different contrast are compared."""
        return self.warping_error / self.contrast if self.contrast else 0.0


def measure(engines: Sequence[Path], path: Path, progress: Progress | None = None) -> list[tuple[str, Flicker]]:
    """The first frames of a video: how much they flicker by themselves, and stylized by each engine bundle.

    An engine of a fixed size gets frames cropped and scaled to it. Raises MediaError if the video cannot be read,
    BundleError for a bad bundle, or if the fixed sizes differ.
    """
    with contextlib.ExitStack() as opened:
        loaded = [opened.enter_context(load(engine)) for engine in engines]
        sizes = {engine.shape.sizes.only for engine in loaded} - {None}
        if len(sizes) > 1:
            raise BundleError(f"engines of {' and '.join(map(str, sizes))} cannot be compared: build them for one size")
        clip = read_clip(path, next(iter(sizes), None), FRAMES, progress)
        rows = [("the clip itself", flicker(clip, lambda picture: picture))]
        for bundle, engine in zip(engines, loaded, strict=True):
            rows.append((bundle.stem, flicker(clip, _painter(engine), progress)))
    return rows


def _painter(engine: Engine) -> Callable[[Picture], Picture]:
    return lambda picture: stylize(engine, picture)[0]


def read_clip(path: Path, size: Size | None, count: int, progress: Progress | None = None) -> Clip:
    """The first `count` frames of a video, cropped and scaled to `size` (None: as they are), with estimated flow.

    Raises MediaError if the video cannot be read or has less than two frames.
    """
    read = itertools.islice(frames(path), count)
    pictures = tuple(picture if size is None else cover(picture, size) for picture in read)
    if len(pictures) < 2:
        raise MediaError(f"{path}: one frame cannot flicker; give a video of two or more")
    pairs = (progress or Silent()).track(itertools.pairwise(pictures), len(pictures) - 1, "estimating motion")
    found = [_estimate(frame, before) for before, frame in pairs]
    return Clip(path.name, pictures, tuple(flow for flow, _ in found), tuple(mask for _, mask in found))


def _estimate(frame: Picture, before: Picture) -> tuple[Flow, Mask]:
    """At FLOW_SIDE, brought to the frame's own size."""
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
    """How much the clip flickers when `stylize` has painted each frame, uint8 [H, W, 3] to the same.

    e_stab = sqrt(1/(T-1) sum_t 1/D sum M_t ||O_t - W_t(O_{t-1})||^2), D the numbers of a frame. Gao et al. 2018,
    arXiv:1807.01197, equation 7; here D counts what M_t leaves, so that clips of more occlusion do not look calmer.
    """
    track = (progress or Silent()).track(clip.pictures, len(clip.pictures), "stylizing")
    painted = [stylize(picture) for picture in track]
    errors = [
        _error(frame, before, flow, visible)
        for (before, frame), flow, visible in zip(itertools.pairwise(painted), clip.flows, clip.visible, strict=True)
    ]
    return Flicker(float(np.sqrt(np.mean(errors))), float(np.mean([picture.std() for picture in painted])))


def _error(frame: Picture, before: Picture, flow: Flow, visible: Mask) -> float:
    """The mean square of what is left."""
    if not visible.any():
        return 0.0
    left = np.square(frame.astype(np.float32) - warp(before, flow)).mean(axis=2)
    return float(left[visible].mean())
