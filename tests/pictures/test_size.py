"""Sizes as they are typed and printed, and the sizes that an engine takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.pictures.size import DEFAULT_SIZE, MAX_SIDE, MIN_SIDE, Size, Sizes

SIDES = st.integers(MIN_SIDE, MAX_SIDE)


@given(SIDES, SIDES)
def test_a_size_is_read_as_it_is_printed(height: int, width: int) -> None:
    assert Size.parse(str(Size(height, width))) == (height, width)


@pytest.mark.parametrize(("text", "size"), [("512", (512, 512)), ("480x640", (480, 640)), (" 333X517 ", (333, 517))])
def test_what_users_type(text: str, size: tuple[int, int]) -> None:
    assert Size.parse(text) == size


@pytest.mark.parametrize("text", ["", "x", "512x", "x512", "512*512", "-16", "51.2", "512x512x3", "1234567"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size: write 512, or HEIGHTxWIDTH such as 480x640"):
        Size.parse(text)


@pytest.mark.parametrize("text", ["15", "16x15", "0", "16385", "512x99999"])
def test_sizes_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"out of range: each side must lie in 16\.\.16384"):
        Size.parse(text)


SQUARE, WIDE = Size(512, 512), Size(360, 640)


def test_any_size_one_size_and_several_are_told_apart() -> None:
    assert (Sizes().is_any, Sizes().only, Sizes().first, str(Sizes())) == (True, None, DEFAULT_SIZE, "any size")
    one = Sizes(WIDE, WIDE)
    assert (one.is_any, one.only, one.first, str(one)) == (False, WIDE, WIDE, "360x640")
    several = Sizes(WIDE, SQUARE)
    assert (several.is_any, several.only, several.first, str(several)) == (False, None, WIDE, "360x640, 512x512")
    assert several != Sizes(SQUARE, WIDE) != Sizes()
    assert SQUARE in several
    assert Size(64, 64) not in several
    assert Size(64, 64) in Sizes()


@pytest.mark.parametrize(
    ("picture", "nearest"),
    [
        ((512, 512), SQUARE),
        ((1080, 1920), WIDE),
        ((720, 1280), WIDE),
        ((600, 600), SQUARE),
        ((2000, 1000), SQUARE),
        ((360, 640), WIDE),
    ],
)
def test_the_nearest_size_resamples_least(picture: tuple[int, int], nearest: Size) -> None:
    assert Sizes(WIDE, SQUARE).nearest(*picture) == Sizes(SQUARE, WIDE).nearest(*picture) == nearest


@given(SIDES, SIDES)
def test_where_any_size_is_taken_the_nearest_is_the_pictures_own(height: int, width: int) -> None:
    assert Sizes().nearest(height, width) == (height, width)
    assert Sizes(SQUARE).nearest(height, width) == SQUARE
