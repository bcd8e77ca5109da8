"""Picture sets: calibration pictures, which INT8 takes its statistics from, and validation pictures, which measure the
result."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nstopt.errors import CalibrationError
from nstopt.files import sha256_file
from nstopt.pictures.files import Picture, cover, demo_photographs, list_pictures, read_picture
from nstopt.pictures.size import Size
from nstopt.pictures.video import frames

MAX_CALIBRATION = 24
MAX_HELD_OUT = 8
MAX_VALIDATION = 16
VIDEO_FRAMES = 40  # of a video as a picture set: as many as `split` keeps
CLIP_FRAMES = 48  # of a clip that drift is measured on: one to two seconds
HOLD_OUT_EVERY = 5
DEMO = "scikit-image's photographs"


@dataclass(frozen=True)
class PictureSet:
    """Pictures that are read when they are loaded. `digests` has the hash and the name of each."""

    source: str
    digests: tuple[str, ...]
    pictures: tuple[Path | Picture, ...]

    @property
    def sha256(self) -> str:
        """Hash over the names and bytes of all pictures, in order."""
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest()

    def load(self, size: Size) -> Iterator[Picture]:
        """Yield the pictures as uint8 [H, W, 3] of that size, cropped to its aspect ratio. Raises MediaError if a file
        cannot be read."""
        for picture in self.pictures:
            yield cover(read_picture(picture).rgb if isinstance(picture, Path) else picture, size)


def from_folder(folder: Path) -> PictureSet:
    """Return every picture of a folder. Raises CalibrationError if it has none, MediaError if there is no such
    folder."""
    paths = list_pictures(folder)
    if not paths:
        raise CalibrationError(f"{folder}: no pictures in this folder; give one with some dozens of photographs")
    return PictureSet(str(folder), tuple(f"{sha256_file(path)} {path.name}" for path in paths), tuple(paths))


def from_path(path: Path) -> PictureSet:
    """Return every picture of a folder, or evenly spaced frames of a video.

    Raises CalibrationError if a folder has no picture, MediaError if there is no such folder or the file is not a
    video.
    """
    return from_video(path) if path.is_file() else from_folder(path)


def from_video(path: Path) -> PictureSet:
    """Return up to VIDEO_FRAMES evenly spaced frames of a video. Raises MediaError if it cannot be read."""
    total = sum(1 for _ in frames(path))
    step = max(1, total // VIDEO_FRAMES)
    chosen = tuple(frames(path, step))[:VIDEO_FRAMES]
    digest = sha256_file(path)
    return PictureSet(str(path), tuple(f"{digest} frame {i * step}" for i in range(len(chosen))), chosen)


def clip(path: Path) -> PictureSet:
    """Return consecutive frames from the middle of a video. Raises MediaError if it cannot be read, CalibrationError if
    it has only one frame."""
    total = sum(1 for _ in frames(path))
    if total < 2:
        raise CalibrationError(f"{path}: drift is measured from frame to frame, but this video has only one")
    start = max(0, (total - CLIP_FRAMES) // 2)
    chosen = tuple(itertools.islice(frames(path), start, start + CLIP_FRAMES))
    digest = sha256_file(path)
    return PictureSet(str(path), tuple(f"{digest} frame {start + i}" for i in range(len(chosen))), chosen)


def demo() -> PictureSet:
    """Return the photographs that scikit-image ships."""
    photographs = demo_photographs()
    digests = (f"{hashlib.sha256(picture.tobytes()).hexdigest()} {name}" for name, picture in photographs)
    return PictureSet(DEMO, tuple(digests), tuple(picture for _, picture in photographs))


def split(pictures: PictureSet) -> tuple[PictureSet, PictureSet]:
    """Split a set into calibration and held-out pictures. Every fifth picture is held out for validation, or the last
    if there are fewer than five.

    At most MAX_CALIBRATION and MAX_HELD_OUT are kept, evenly spaced: more did not change the ranges of the nets that
    this was measured on. Raises CalibrationError if there are fewer than two pictures.
    """
    if len(pictures.pictures) < 2:
        raise CalibrationError(
            f"{pictures.source}: one picture is not enough to calibrate and to validate the result; "
            "add more, or give validation pictures with --val"
        )
    held_out = set(range(HOLD_OUT_EVERY - 1, len(pictures.pictures), HOLD_OUT_EVERY)) or {len(pictures.pictures) - 1}
    kept = [index for index in range(len(pictures.pictures)) if index not in held_out]
    return _chosen(pictures, kept, MAX_CALIBRATION), _chosen(pictures, sorted(held_out), MAX_HELD_OUT)


def at_most(pictures: PictureSet, count: int) -> PictureSet:
    """Return at most `count` of the pictures, evenly spaced over the set."""
    return _chosen(pictures, range(len(pictures.pictures)), count)


def _chosen(pictures: PictureSet, indices: Sequence[int], count: int) -> PictureSet:
    """Return at most `count` of the pictures of the given indices, evenly spaced."""
    if len(indices) > count:
        indices = [indices[i * len(indices) // count] for i in range(count)]
    digests = tuple(pictures.digests[i] for i in indices)
    return PictureSet(pictures.source, digests, tuple(pictures.pictures[i] for i in indices))
