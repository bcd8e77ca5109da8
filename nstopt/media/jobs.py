"""The pictures to stylize and the files to write, checked before any work."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nstopt.errors import MediaError
from nstopt.files import real_path
from nstopt.pictures.files import list_pictures

# Formats that can hold an alpha channel.
TRANSPARENT = frozenset({".png", ".webp", ".tif", ".tiff"})


class PictureJob(NamedTuple):
    """A picture to read, the file for its result, and the file for both side by side, if that is wanted."""

    source: Path
    target: Path
    side_by_side: Path | None = None


def list_jobs(source: Path, target: Path, keep_alpha: bool, side_by_side: Path | None = None) -> list[PictureJob]:
    """Return the job for a picture, or the jobs for all pictures of a folder.

    The outputs of a folder are folders; the output of a picture is a file, or an existing folder to put it in. Raises
    MediaError if there is no picture, or if two outputs would have the same path or one would overwrite a source.
    """
    if not source.is_dir():
        name = _result_name(source, keep_alpha)
        both = side_by_side and (side_by_side / source.name if side_by_side.is_dir() else side_by_side)
        jobs = [PictureJob(source, target / name if target.is_dir() else target, both)]
    else:
        pictures = list_pictures(source)
        if not pictures:
            raise MediaError(f"{source}: no pictures in this folder")
        for folder in (target, side_by_side):
            if folder is not None and folder.is_file():
                raise MediaError(f"{folder}: is a file; the results of a folder need a folder to go to")
        jobs = [
            PictureJob(path, target / _result_name(path, keep_alpha), side_by_side and side_by_side / path.name)
            for path in pictures
        ]
    _check_outputs(jobs)
    return jobs


def _check_outputs(jobs: list[PictureJob]) -> None:
    """Raise MediaError if an output would overwrite a source or another output."""
    sources = {real_path(job.source) for job in jobs}
    outputs: dict[Path, PictureJob] = {}
    for job in jobs:
        for path in (job.target, job.side_by_side):
            if path is None:
                continue
            if real_path(path) in sources:
                raise MediaError(f"{path}: the result would overwrite the picture itself; choose another output")
            other = outputs.setdefault(real_path(path), job)
            if other is not job:
                both = f"{other.source.name} and {job.source.name}"
                raise MediaError(f"{path}: would be the result of both {both}; rename one of them")
        if job.side_by_side and real_path(job.side_by_side) == real_path(job.target):
            raise MediaError(f"{job.target}: would be both the result and the side-by-side picture; choose another one")


def _result_name(source: Path, keep_alpha: bool) -> str:
    fits = not keep_alpha or source.suffix.lower() in TRANSPARENT
    return source.name if fits else f"{source.stem}.png"
