"""Values on the command line that are more than a word: ranges, colors, weighted pictures, lists. Parsers raise
ValueError with a reason."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from nstopt.pictures.size import Size


class ValueRange(NamedTuple):
    """A net's values for black and white."""

    low: float
    high: float


class Triple(NamedTuple):
    """One number for each color."""

    red: float
    green: float
    blue: float


class Weighted(NamedTuple):
    """A style picture and its weight among several."""

    picture: Path
    weight: float


# Typer takes a parser's result type as the option's type, so a list in one option needs a type of its own.
class SizeList(tuple[Size, ...]):
    """Several sizes in one option."""

    __slots__ = ()


class CountList(tuple[int, ...]):
    """Several numbers of pictures in one option."""

    __slots__ = ()


class StrengthList(tuple[float, ...]):
    """Several strengths in one option."""

    __slots__ = ()


class NameList(tuple[str, ...]):
    """Several names in one option."""

    __slots__ = ()


def _numbers(text: str, count: int, example: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ValueError(f"'{text}' is not {count} numbers with commas between, such as {example}")
    return values


def parse_range(text: str) -> ValueRange:
    """Read `0,255` as (0.0, 255.0)."""
    low, high = _numbers(text, 2, "0,255")
    if low >= high:
        raise ValueError(f"'{text}' is no range: the first number must be the smaller one")
    return ValueRange(low, high)


def parse_triple(text: str) -> Triple:
    """Read `0.485,0.456,0.406` as red, green and blue; one number stands for all three."""
    if "," not in text:
        text = ",".join([text] * 3)
    red, green, blue = _numbers(text, 3, "0.485,0.456,0.406")
    return Triple(red, green, blue)


def parse_divisor(text: str) -> Triple:
    """Read as `parse_triple` does, and require each number to be above 0."""
    triple = parse_triple(text)
    if min(triple) <= 0:
        raise ValueError(f"'{text}' is a divisor: each number must be above 0")
    return triple


def parse_weighted(text: str) -> Weighted:
    """Read `wave.jpg` or `wave.jpg:0.7`. The default weight is 1."""
    picture, colon, weight = text.rpartition(":")
    try:
        return Weighted(Path(picture), float(weight)) if colon else Weighted(Path(text), 1.0)
    except ValueError:
        return Weighted(Path(text), 1.0)  # a colon in the file's own name


def parse_sizes(text: str) -> SizeList:
    """Read `256,512,1080x1920`."""
    return SizeList(Size.parse(part) for part in text.split(","))


def parse_memory(text: str) -> int:
    """Read `2GiB`, `1.5GB` or `800MiB` as bytes."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT])(i?)B?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"'{text}' is not an amount of memory: write 2GiB, 1.5GB or 800MiB")
    number, prefix, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** (1 + "KMGT".index(prefix.upper())))


def parse_counts(text: str) -> CountList:
    """Read `1,4`: batch sizes from 1 to 64, each once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,9}", part) and 1 <= int(part) <= 64 for part in parts):
        raise ValueError(f"'{text}' is not a list of batch sizes from 1 to 64 with commas between, such as 1,4")
    return CountList(dict.fromkeys(int(part) for part in parts))


def parse_strength(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not 0 <= strength <= 1:
        raise ValueError(f"'{text}' is not a number from 0 to 1")
    return strength


def parse_strengths(text: str) -> StrengthList:
    """Read `0,0.5,1`: numbers from 0 to 1, each once."""
    return StrengthList(dict.fromkeys(map(parse_strength, text.split(","))))


def parse_names(text: str) -> NameList:
    """Read `fp32,int8`: names, each once."""
    names = NameList(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(names):
        raise ValueError(f"'{text}' has an empty name in it")
    return names


def parse_time(text: str) -> float:
    """Read `90`, `1:30` or `0:01:30.5` as seconds."""
    match = re.fullmatch(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{1,9})?)", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a time: write seconds such as 90.5, or 1:30, or 0:01:30.5")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def flat(lists: list[SizeList] | None) -> tuple[Size, ...]:
    """Return the sizes of a repeated option in the order given, each once."""
    return tuple(dict.fromkeys(size for sizes in lists or () for size in sizes))
