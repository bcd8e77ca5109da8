"""The check that decides whether an export is written."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nstopt.errors import ExportError
from nstopt.export.parity import ANY_SIZE, check_parity
from nstopt.pictures.size import Size

Images = NDArray[np.uint8]


def dimmed(images: Images) -> Images:
    return (images // 2).astype(np.uint8)


def off_by(levels: int) -> object:
    def run(images: Images) -> Images:
        result = dimmed(images)
        result[-1, -1, -1, 2] += levels
        return result

    return run


@pytest.mark.parametrize("levels", [0, 1])
def test_up_to_one_gray_level_passes(levels: int) -> None:
    assert check_parity("it", off_by(levels), dimmed, None) == levels  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [2, 100])
def test_one_value_further_off_does_not(levels: int) -> None:
    message = rf"^it differs from the net by up to {levels} gray levels at 128x128 \(0\.00% of .*; nothing was written"
    with pytest.raises(ExportError, match=message):
        check_parity("it", off_by(levels), dimmed, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "batch", "shapes"),
    [
        (None, None, [(2, *size, 3) for size in ANY_SIZE]),
        (Size(16, 20), None, [(2, 16, 20, 3)]),
        (Size(16, 20), 1, [(1, 16, 20, 3)] * 2),
        (Size(16, 20), 3, [(3, 16, 20, 3)] * 2),
    ],
)
def test_what_is_run(size: Size | None, batch: int | None, shapes: list[tuple[int, ...]]) -> None:
    seen: list[Images] = []

    def run(images: Images) -> Images:
        seen.append(images)
        return images

    check_parity("it", run, lambda images: images, size, batch)
    assert [images.shape for images in seen] == shapes
    pictures = [picture for images in seen for picture in images]
    assert len({picture.tobytes() for picture in pictures}) == 2 * len({picture.shape for picture in pictures})


def test_sizes_are_a_square_a_portrait_and_an_odd_one() -> None:
    assert any(height == width for height, width in ANY_SIZE)
    assert any(height > width for height, width in ANY_SIZE)
    assert any(height % 2 and width % 2 for height, width in ANY_SIZE)


def test_a_picture_of_another_size_is_named() -> None:
    with pytest.raises(
        ExportError, match=r"a picture of 128x128 came back as 124x128 \(the net itself: 128x128\); sta"
    ):
        check_parity("it", lambda images: images[:, 4:], dimmed, None)
