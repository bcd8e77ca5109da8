"""The calibration set: which pictures ranges are taken from, and which others the result is judged by."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nstopt.errors import CalibrationError
from nstopt.files import sha256_file
from nstopt.pictures.files import cover, demo_photographs, list_pictures, read_picture
from nstopt.pictures.size import Size
from nstopt.pictures.video import frames

MAX_CALIBRATION = 24
MAX_HELD_OUT = 8
MAX_JUDGED = 16
# Of a video that calibrates: what a split keeps of it.
VIDEO_FRAMES = 40
# Of a clip that drift is measured on: one to two seconds.
CLIP_FRAMES = 48
# One picture in five is held out.
HOLD_OUT_EVERY = 5
DEMO = "scikit-image's photographs"


@dataclass(frozen=True)
class PictureSet:
    """Pictures that are read when asked for. `digests` has the hash and name of each."""

    source: str
    digests: tuple[str, ...]
    pictures: tuple[Path | NDArray[np.uint8], ...]

    @property
    def sha256(self) -> str:
        """Over the names and bytes of all pictures, in order."""
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest()

    def load(self, size: Size) -> Iterator[NDArray[np.uint8]]:
        """One after the other, as uint8 [H, W, 3] of that size, cropped to its aspect. Raises MediaError."""
        for picture in self.pictures:
            yield cover(read_picture(picture).rgb if isinstance(picture, Path) else picture, size)


def from_folder(folder: Path) -> PictureSet:
    """Every picture of a folder. Raises CalibrationError if there is none, MediaError if there is no such folder."""
    paths = list_pictures(folder)
    if not paths:
        raise CalibrationError(f"{folder}: no pictures in this folder; give one with some dozens of photographs")
    return PictureSet(str(folder), tuple(f"{sha256_file(path)} {path.name}" for path in paths), tuple(paths))


def from_path(path: Path) -> PictureSet:
    """Every picture of a folder, or frames of a video spread evenly over it. Raises CalibrationError if a folder has no
    picture, MediaError if there is no such folder or the file is no video."""
    return from_video(path) if path.is_file() else from_folder(path)


def from_video(path: Path) -> PictureSet:
    """Frames of a video, evenly spread: as many as a split keeps. Raises MediaError."""
    total = sum(1 for _ in frames(path))
    step = max(1, total // VIDEO_FRAMES)
    chosen = tuple(frames(path, step))[:VIDEO_FRAMES]
    digest = sha256_file(path)
    return PictureSet(str(path), tuple(f"{digest} frame {i * step}" for i in range(len(chosen))), chosen)


def clip(path: Path) -> PictureSet:
    """Consecutive frames from the middle of a video. Raises MediaError, or CalibrationError if there is but one."""
    total = sum(1 for _ in frames(path))
    if total < 2:
        raise CalibrationError(f"{path}: drift is measured from frame to frame, but this video has only one")
    start = max(0, (total - CLIP_FRAMES) // 2)
    chosen = tuple(itertools.islice(frames(path), start, start + CLIP_FRAMES))
    digest = sha256_file(path)
    return PictureSet(str(path), tuple(f"{digest} frame {start + i}" for i in range(len(chosen))), chosen)


def demo() -> PictureSet:
    """The photographs that scikit-image ships."""
    photographs = demo_photographs()
    digests = (f"{hashlib.sha256(rgb.tobytes()).hexdigest()} {name}" for name, rgb in photographs)
    return PictureSet(DEMO, tuple(digests), tuple(rgb for _, rgb in photographs))


def split(pictures: PictureSet) -> tuple[PictureSet, PictureSet]:
    """(calibration, held out): the held-out ones are spread evenly over the set, and no picture is in both.

    At most 24 and 8 are kept, evenly spread: more did not change the ranges of the nets this was measured on.
    Raises CalibrationError if there are fewer than two pictures.
    """
    if len(pictures.pictures) < 2:
        raise CalibrationError(
            f"{pictures.source}: one picture is not enough to calibrate and to judge the result; "
            "add more, or give the ones to judge by with --val"
        )
    held = set(range(HOLD_OUT_EVERY - 1, len(pictures.pictures), HOLD_OUT_EVERY)) or {len(pictures.pictures) - 1}
    kept = [index for index in range(len(pictures.pictures)) if index not in held]
    return _subset(pictures, _spread(kept, MAX_CALIBRATION)), _subset(pictures, _spread(sorted(held), MAX_HELD_OUT))


def at_most(pictures: PictureSet, count: int) -> PictureSet:
    """`count` of the pictures, evenly spread over the set."""
    return _subset(pictures, _spread(list(range(len(pictures.pictures))), count))


def _spread(indices: list[int], count: int) -> list[int]:
    if len(indices) <= count:
        return indices
    return [indices[i * len(indices) // count] for i in range(count)]


def _subset(pictures: PictureSet, indices: list[int]) -> PictureSet:
    digests = tuple(pictures.digests[i] for i in indices)
    return PictureSet(pictures.source, digests, tuple(pictures.pictures[i] for i in indices))
