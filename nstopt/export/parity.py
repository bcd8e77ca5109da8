"""The parity check: compare an exported graph with its net, on noise and on a photograph, before writing it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nstopt.errors import ExportError
from nstopt.pictures.files import cover, demo_photograph, read_picture
from nstopt.pictures.size import Size

Pictures = NDArray[np.uint8]  # [N, H, W, 3]
Run = Callable[[Pictures], Pictures]

MAX_GRAY_LEVELS = 1
# A square, a portrait, and a size with two odd sides.
ANY_SIZE = (Size(128, 128), Size(192, 112), Size(97, 131))


def check_parity(what: str, run: Run, reference: Run, size: Size | None, batch: int | None = None) -> int:
    """Compare `run`, which messages call `what`, with `reference`; return the largest difference, 0 or 1 gray levels.

    Both are functions of uint8 arrays [N, H, W, 3]. The input is a batch of two, noise and a photograph, at each of
    ANY_SIZE, or at `size` if the graph is fixed to it. For a graph of a fixed `batch`, each picture is repeated.
    Raises ExportError if a picture differs by more than one gray level or in its size.
    """
    photograph = read_picture(demo_photograph("astronaut")).rgb
    worst = 0
    for shape in (size,) if size else ANY_SIZE:
        noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        pair = np.stack([noise, cover(photograph, shape)])
        batches = [np.repeat(one[None], batch, axis=0) for one in pair] if batch else [pair]
        for pictures in batches:
            expected = reference(pictures)
            worst = max(worst, _difference(what, run(pictures), expected, shape))
    return worst


def _difference(what: str, found: Pictures, expected: Pictures, shape: Size) -> int:
    sizes = [Size(*pictures.shape[1:3]) for pictures in (found, expected)]
    if sizes != [shape, shape]:
        raise ExportError(
            f"{what} turns a picture of {shape} into one of {sizes[0]} (the net itself: {sizes[1]}); "
            "state the net's --multiple"
        )
    difference = np.abs(expected.astype(np.int16) - found)
    worst = int(difference.max())
    if worst > MAX_GRAY_LEVELS:
        count = float((difference > MAX_GRAY_LEVELS).mean())
        raise ExportError(
            f"{what} differs from the net by up to {worst} gray levels at {shape} "
            f"({count:.2%} of values by more than {MAX_GRAY_LEVELS}); nothing was written"
        )
    return worst
