"""Parsers of command-line values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nstopt.cli.options.values import (
    Weighted,
    parse_divisor,
    parse_range,
    parse_strengths,
    parse_triple,
    parse_weighted,
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(FLOATS, FLOATS)
@settings(max_examples=30)
def test_a_range_round_trips(low: float, high: float) -> None:
    if low < high:
        assert parse_range(f"{low!r},{high!r}") == (low, high)
    else:
        with pytest.raises(ValueError, match="first number must be the smaller one"):
            parse_range(f"{low!r},{high!r}")


@pytest.mark.parametrize("text", ["", "0", "0,1,2", "0;255", "a,b", "0,nan", "nan,1", "-inf,inf", "0,inf"])
def test_invalid_ranges(text: str) -> None:
    with pytest.raises(ValueError, match=r"'.*' is not 2 numbers with commas between, such as 0,255"):
        parse_range(text)


def test_a_triple_is_three_numbers_or_one_for_all() -> None:
    assert parse_triple("0.485, 0.456,0.406") == (0.485, 0.456, 0.406)
    assert parse_triple("0.5") == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"'1,2' is not 3 numbers"):
        parse_triple("1,2")


def test_divisors_are_above_zero() -> None:
    assert parse_divisor("0.229,0.224,0.225") == (0.229, 0.224, 0.225)
    with pytest.raises(ValueError, match="'1,0,1' is a divisor: each number must be above 0"):
        parse_divisor("1,0,1")


def test_strengths_are_from_0_to_1() -> None:
    assert parse_strengths("0, 0.5,1,0.5") == (0, 0.5, 1)
    for text in ("2", "-0.1", "nan", "a", "", "0,,1"):
        with pytest.raises(ValueError, match=r"'.*' is not a number from 0 to 1"):
            parse_strengths(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wave.jpg", Weighted(Path("wave.jpg"), 1.0)),
        ("wave.jpg:0.7", Weighted(Path("wave.jpg"), 0.7)),
        ("a:b/wave.jpg", Weighted(Path("a:b/wave.jpg"), 1.0)),
        ("a:b/wave.jpg:2", Weighted(Path("a:b/wave.jpg"), 2.0)),
    ],
)
def test_a_style_and_its_weight(text: str, expected: Weighted) -> None:
    assert parse_weighted(text) == expected
