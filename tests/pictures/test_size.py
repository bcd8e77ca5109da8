"""Sizes as they are typed and printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.pictures.size import MAX_SIDE, MIN_SIDE, Size

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
