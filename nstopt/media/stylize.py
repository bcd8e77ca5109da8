"""Stylize pictures: one, or a folder of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from nstopt.engines.engine import Engine
from nstopt.errors import BundleError, MediaError
from nstopt.media.ahead import map_ahead
from nstopt.media.jobs import PictureJob
from nstopt.pictures.files import DecodedPicture, Picture, read_picture, resize, write_picture
from nstopt.pictures.size import Size

# Pictures that are read before they are needed.
MOST_AHEAD = 4


class FittedPicture(NamedTuple):
    """A picture at a size that an engine takes. `picture`, uint8 [H, W, 3], has the content in its upper left part of
    size `inner`; the rest is its reflection. `size` is the original size."""

    picture: Picture
    inner: Size
    size: Size


class JobResult(NamedTuple):
    """The result of a job: the picture's size and the size at which the net ran on it, or the error that stopped it."""

    job: PictureJob
    size: Size | None
    ran_at: Size | None
    error: MediaError | BundleError | None


class _Read(NamedTuple):
    """A picture that was read."""

    job: PictureJob
    decoded: DecodedPicture


class _Stylized(NamedTuple):
    """A picture to write."""

    job: PictureJob
    decoded: DecodedPicture
    fitted: FittedPicture
    result: Picture


def run(
    engine: Engine,
    jobs: Iterable[PictureJob],
    keep_alpha: bool,
    ahead: int | None = None,
    max_pixels: int | None = None,
) -> Iterator[JobResult]:
    """Stylize the pictures of `jobs` and write the results, in order. An engine of a fixed batch gets successive
    pictures of one shape together. While the engine works, other threads read the next pictures, at most `ahead`, and
    write the last ones, as many; None: one for each core, at most 4. `max_pixels` is that of `read_picture`.

    A picture that cannot be read, stylized or written does not stop the others; its result has the error and may come
    before those of the pictures that wait for their batch. Raises DeviceError if the device fails.
    """
    ahead = min(os.cpu_count() or 1, MOST_AHEAD) if ahead is None else ahead
    with ThreadPoolExecutor(max(1, ahead)) as pool:
        stylized = _stylize_all(engine, map_ahead(pool, functools.partial(_read, max_pixels=max_pixels), jobs, ahead))
        yield from map_ahead(pool, functools.partial(_write, keep_alpha=keep_alpha), stylized, ahead)


def _read(job: PictureJob, max_pixels: int | None) -> _Read | JobResult:
    try:
        return _Read(job, read_picture(job.source, max_pixels))
    except MediaError as error:
        return JobResult(job, None, None, error)


def _stylize_all(engine: Engine, pictures: Iterable[_Read | JobResult]) -> Iterator[_Stylized | JobResult]:
    """Stylize the pictures that could be read, in batches of the engine's size and of one shape."""
    waiting: list[tuple[_Read, FittedPicture]] = []
    for picture in pictures:
        if isinstance(picture, JobResult):
            yield picture
            continue
        fitted = fit(engine, picture.decoded.rgb)
        if waiting and waiting[0][1].picture.shape != fitted.picture.shape:
            yield from _finish(engine, waiting)
            waiting = []
        waiting.append((picture, fitted))
        if len(waiting) == (engine.shape.batch or 1):
            yield from _finish(engine, waiting)
            waiting = []
    if waiting:
        yield from _finish(engine, waiting)


def _finish(engine: Engine, waiting: Sequence[tuple[_Read, FittedPicture]]) -> Iterator[_Stylized | JobResult]:
    """Stylize the waiting pictures in one call."""
    try:
        results = _stylize_batch(engine, [fitted for _, fitted in waiting])
    except BundleError as error:
        yield from (JobResult(read.job, None, None, error) for read, _ in waiting)
        return
    for (read, fitted), result in zip(waiting, results, strict=True):
        yield _Stylized(*read, fitted, result)


def _write(picture: _Stylized | JobResult, keep_alpha: bool) -> JobResult:
    if isinstance(picture, JobResult):
        return picture
    job, decoded, fitted, result = picture
    try:
        write_picture(job.target, result, decoded.alpha if keep_alpha else None)
        if job.side_by_side:
            write_picture(job.side_by_side, np.concatenate([decoded.rgb, result], axis=1))
    except MediaError as error:
        return JobResult(job, None, None, error)
    return JobResult(job, fitted.size, fitted.inner, None)


def stylize(engine: Engine, picture: Picture) -> Picture:
    """Stylize `picture`, uint8 RGB [H, W, 3] of any size. The result has the same size."""
    (result,) = _stylize_batch(engine, [fit(engine, picture)])
    return result


def fit(engine: Engine, picture: Picture) -> FittedPicture:
    """Bring `picture`, uint8 RGB [H, W, 3], to the nearest size that the engine takes. It is scaled to fit with
    its aspect kept, and the rest is filled with its reflection."""
    height, width = picture.shape[:2]
    own = Size(height, width)
    size = engine.shape.sizes.nearest(height, width)
    if size == own:
        return FittedPicture(picture, own, own)
    scale = min(size.height / height, size.width / width)
    inner = Size(max(1, round(height * scale)), max(1, round(width * scale)))
    missing = ((0, size.height - inner.height), (0, size.width - inner.width), (0, 0))
    # A picture of extreme aspect may be a pixel high now: `symmetric` can mirror that, `reflect` cannot.
    filled = np.pad(resize(picture, inner), missing, mode="symmetric" if min(inner) < 2 else "reflect")
    return FittedPicture(filled, inner, own)


def _stylize_batch(engine: Engine, fitted: Sequence[FittedPicture]) -> list[Picture]:
    """Stylize pictures of one shape in one call. The last one is repeated until the engine's batch is full. The results
    have the original sizes."""
    pictures = [one.picture for one in fitted]
    pictures += pictures[-1:] * ((engine.shape.batch or 0) - len(pictures))
    results = engine(pictures[0][None] if len(pictures) == 1 else np.stack(pictures))  # one is not copied
    return [restore(result, one) for result, one in zip(results, fitted, strict=False)]


def restore(result: Picture, fitted: FittedPicture) -> Picture:
    """Crop the result of a fitted picture to its content, and scale it to the original size."""
    content = result[: fitted.inner.height, : fitted.inner.width]
    return resize(np.ascontiguousarray(content), fitted.size)
