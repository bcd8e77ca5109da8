"""Pairs of consecutive frames from video clips, with estimated flow."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from nstopt.errors import MediaError
from nstopt.pictures.files import Picture
from nstopt.pictures.flow import estimate
from nstopt.pictures.video import frames
from nstopt.train.photos import resize_shorter
from nstopt.train.warp import Pair

SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"})
EVERY = 8  # a pair starts at every eighth frame: those between hardly differ
KEPT = 1024  # pairs whose flow is cached: estimating it takes longer than a training step


class ClipPairs:
    """Center crops of consecutive frames from the clips of a folder; pair n depends on the seed and n alone.

    Raises MediaError if the folder holds no clip, a clip cannot be read, or no clip has two frames.
    """

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        if not folder.is_dir():
            raise MediaError(f"{folder}: no such folder of video clips")
        clips = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not clips:
            raise MediaError(f"{folder}: no video clips to train on; put clips (.mp4, .mkv) there")
        self._pairs = [pair for clip in clips for pair in _neighbors(clip, side)]
        if not self._pairs:
            raise MediaError(f"{folder}: no clip has two frames")
        self._seed = seed
        self._estimate = functools.lru_cache(KEPT)(lambda index: estimate(*self._pairs[index]))

    def __getitem__(self, number: int) -> Pair:
        """Return pair `number`, from 0; every pair is used once before any is repeated."""
        round_, place = divmod(number, len(self._pairs))
        index = int(np.random.default_rng((self._seed, 3, round_)).permutation(len(self._pairs))[place])
        return Pair(*self._pairs[index], *self._estimate(index))


def _neighbors(clip: Path, side: int) -> list[tuple[Picture, Picture]]:
    """Return pairs (frame, previous frame), uint8 [side, side, 3] each."""
    pairs, before = [], None
    for number, frame in enumerate(frames(clip)):
        if number % EVERY == 0:
            before = frame
        elif number % EVERY == 1 and before is not None:
            pairs.append((_middle(frame, side), _middle(before, side)))
    return pairs


def _middle(frame: Picture, side: int) -> Picture:
    scaled = resize_shorter(frame, side)
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return scaled[top : top + side, left : left + side]
