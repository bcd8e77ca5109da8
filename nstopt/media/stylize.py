"""Pictures through an engine: one, or a folder of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nstopt.engines.base import Engine
from nstopt.errors import MediaError
from nstopt.pictures.files import Picture, list_pictures, read_picture, resize, write_picture
from nstopt.pictures.size import Size

# Formats that can hold an alpha channel.
TRANSPARENT = frozenset({".png", ".webp", ".tif", ".tiff"})


class PictureJob(NamedTuple):
    """One picture to read and where its result goes."""

    source: Path
    target: Path


class JobResult(NamedTuple):
    """What became of a job: the size the engine ran at, or the error that kept this picture from being written."""

    job: PictureJob
    size: Size
    ran_at: Size | None
    error: MediaError | None


def list_jobs(source: Path, target: Path, keep_alpha: bool) -> list[PictureJob]:
    """Jobs for a picture, or for every picture of a folder. Raises MediaError if there is nothing to do, or if a
    result would overwrite its own source."""
    if source.is_dir():
        pictures = list_pictures(source)
        if not pictures:
            raise MediaError(f"{source}: no pictures in this folder")
        if target.is_file():
            raise MediaError(f"{target}: is a file; the results of a folder need a folder to go to")
        jobs = [PictureJob(path, target / _result_name(path, keep_alpha)) for path in pictures]
    else:
        jobs = [PictureJob(source, target / _result_name(source, keep_alpha) if target.is_dir() else target)]
    taken: dict[Path, Path] = {}
    for job in jobs:
        if taken.setdefault(job.target, job.source) is not job.source:
            both = f"{taken[job.target].name} and {job.source.name}"
            raise MediaError(f"{job.target}: would be the result of both {both}; rename one of them")
        if job.target.exists() and job.source.exists() and job.target.samefile(job.source):
            raise MediaError(f"{job.target}: the result would overwrite the picture itself; choose another output")
    return jobs


def _result_name(source: Path, keep_alpha: bool) -> str:
    fits = not keep_alpha or source.suffix.lower() in TRANSPARENT
    return source.name if fits else f"{source.stem}.png"


def run(engine: Engine, jobs: Iterable[PictureJob], keep_alpha: bool) -> Iterator[JobResult]:
    """Stylize one job after the other. A picture that cannot be read or written does not stop the rest."""
    for job in jobs:
        try:
            picture = read_picture(job.source)
            result, ran_at = stylize(engine, picture.rgb)
            write_picture(job.target, result, picture.alpha if keep_alpha else None)
            height, width = picture.rgb.shape[:2]
            yield JobResult(job, Size(height, width), ran_at, None)
        except MediaError as error:
            yield JobResult(job, Size(0, 0), None, error)


def stylize(engine: Engine, rgb: Picture) -> tuple[Picture, Size]:
    """Stylize uint8 RGB [H, W, 3] of any size; the result has the same size. Also gives the size that the net itself
    ran at.

    An engine of a fixed size gets the picture scaled to fit in it, aspect kept, the rest filled with its reflection;
    the result is cropped and scaled back.
    """
    height, width = rgb.shape[:2]
    fixed = engine.shape.sizes.nearest(height, width)
    if fixed == (height, width):
        return _run(engine, rgb), Size(height, width)
    scale = min(fixed.height / height, fixed.width / width)
    inner = Size(max(1, round(height * scale)), max(1, round(width * scale)))
    missing = ((0, fixed.height - inner.height), (0, fixed.width - inner.width), (0, 0))
    # A picture of extreme aspect may be a pixel high now: `symmetric` can mirror that, `reflect` cannot.
    filled = np.pad(resize(rgb, inner), missing, mode="symmetric" if min(inner) < 2 else "reflect")
    result = _run(engine, filled)[: inner.height, : inner.width]
    return resize(np.ascontiguousarray(result), Size(height, width)), inner


def _run(engine: Engine, rgb: Picture) -> Picture:
    """An engine of a fixed batch stylizes that many copies of the one picture."""
    batch = engine.shape.batch or 1
    images: Picture = np.repeat(rgb[None], batch, axis=0)
    result: Picture = engine(images)[0]
    return result


def before_after(before: Picture, after: Picture) -> Picture:
    """Two uint8 pictures of one size side by side."""
    return np.concatenate([before, after], axis=1)
