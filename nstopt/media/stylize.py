"""Stylize pictures: one, or a folder of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nstopt.engines.base import Engine
from nstopt.errors import BundleError, MediaError
from nstopt.media.jobs import PictureJob
from nstopt.pictures.files import DecodedPicture, Picture, read_picture, resize, write_picture
from nstopt.pictures.size import Size


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


class _Pending(NamedTuple):
    """A picture that waits for its batch to be full."""

    job: PictureJob
    decoded: DecodedPicture
    fitted: FittedPicture


def run(engine: Engine, jobs: Iterable[PictureJob], keep_alpha: bool) -> Iterator[JobResult]:
    """Stylize the pictures of `jobs` and write the results, in order. An engine of a fixed batch gets successive
    pictures of one shape together.

    A picture that cannot be read, stylized or written does not stop the others; its result has the error and may come
    before those of the pictures that wait for their batch. Raises DeviceError if the device fails.
    """
    waiting: list[_Pending] = []
    for job in jobs:
        try:
            decoded = read_picture(job.source)
        except MediaError as error:
            yield JobResult(job, None, None, error)
            continue
        fitted = fit(engine, decoded.rgb)
        if waiting and waiting[0].fitted.picture.shape != fitted.picture.shape:
            yield from _finish(engine, waiting, keep_alpha)
            waiting = []
        waiting.append(_Pending(job, decoded, fitted))
        if len(waiting) == (engine.shape.batch or 1):
            yield from _finish(engine, waiting, keep_alpha)
            waiting = []
    if waiting:
        yield from _finish(engine, waiting, keep_alpha)


def _finish(engine: Engine, waiting: Sequence[_Pending], keep_alpha: bool) -> Iterator[JobResult]:
    """Stylize the waiting pictures in one call and write them."""
    try:
        results = _stylize_batch(engine, [one.fitted for one in waiting])
    except BundleError as error:
        yield from (JobResult(one.job, None, None, error) for one in waiting)
        return
    for (job, decoded, fitted), result in zip(waiting, results, strict=True):
        try:
            write_picture(job.target, result, decoded.alpha if keep_alpha else None)
            if job.side_by_side:
                write_picture(job.side_by_side, np.concatenate([decoded.rgb, result], axis=1))
        except MediaError as error:
            yield JobResult(job, None, None, error)
        else:
            yield JobResult(job, fitted.size, fitted.inner, None)


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
    results = engine(np.stack(pictures))
    return [restore(result, one) for result, one in zip(results, fitted, strict=False)]


def restore(result: Picture, fitted: FittedPicture) -> Picture:
    """Crop the result of a fitted picture to its content, and scale it to the original size."""
    content = result[: fitted.inner.height, : fitted.inner.width]
    return resize(np.ascontiguousarray(content), fitted.size)
