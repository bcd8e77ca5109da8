"""The parity check, which decides whether an export is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from nstopt.errors import ExportError
from nstopt.export.parity import ANY_SIZE, Run, check_parity
from nstopt.pictures.size import Size

Images = NDArray[np.uint8]


def dimmed(images: Images) -> Images:
    return (images // 2).astype(np.uint8)


def off_by(levels: int) -> Run:
    def run(images: Images) -> Images:
        result = dimmed(images)
        result[-1, -1, -1, 2] += levels
        return result

    return run


@pytest.mark.parametrize("levels", [0, 1])
def test_a_difference_of_one_gray_level_passes(levels: int) -> None:
    assert check_parity("it", off_by(levels), dimmed, None) == levels


@pytest.mark.parametrize("levels", [2, 100])
def test_one_value_with_a_larger_difference_fails(levels: int) -> None:
    message = rf"^it differs from the net by up to {levels} gray levels at 128x128 \(0\.00% of .*; nothing was written"
    with pytest.raises(ExportError, match=message):
        check_parity("it", off_by(levels), dimmed, None)


@pytest.mark.parametrize(
    ("size", "batch", "shapes"),
    [
        (None, None, [(2, *size, 3) for size in ANY_SIZE]),
        (Size(16, 20), None, [(2, 16, 20, 3)]),
        (Size(16, 20), 1, [(1, 16, 20, 3)] * 2),
        (Size(16, 20), 3, [(3, 16, 20, 3)] * 2),
    ],
)
def test_noise_and_a_photograph_are_run_at_each_size(
    size: Size | None, batch: int | None, shapes: list[tuple[int, ...]]
) -> None:
    seen: list[Images] = []

    def run(images: Images) -> Images:
        seen.append(images)
        return images

    check_parity("it", run, lambda images: images, size, batch)
    assert [images.shape for images in seen] == shapes
    pictures = [picture for images in seen for picture in images]
    assert len({picture.tobytes() for picture in pictures}) == 2 * len({picture.shape for picture in pictures})


def broken_where(shape: Callable[[int, int], bool]) -> Run:
    def run(pictures: Images) -> Images:
        return dimmed(pictures) + np.uint8(9 * shape(*pictures.shape[1:3]))

    return run


@pytest.mark.parametrize(
    "broken",
    [
        lambda height, width: height == width,
        lambda height, width: height > width,
        lambda height, width: height % 2 == 1 and width % 2 == 1,
    ],
)
def test_a_graph_that_is_wrong_at_some_sizes_only_is_found(broken: Callable[[int, int], bool]) -> None:
    with pytest.raises(ExportError, match="it differs from the net by up to 9 gray levels"):
        check_parity("it", broken_where(broken), dimmed, None)


def test_a_picture_of_another_size_is_reported() -> None:
    with pytest.raises(
        ExportError, match=r"it turns a picture of 128x128 into one of 124x128 \(the net itself: 128x128\); sta"
    ):
        check_parity("it", lambda images: images[:, 4:], dimmed, None)
