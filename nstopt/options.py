"""Command-line values that are more than a word: ranges, colours, weighted pictures. Each raises ValueError with a
reason."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple


class Range(NamedTuple):
    """What black and white are to a net."""

    low: float
    high: float


class Triple(NamedTuple):
    """A number for each colour."""

    red: float
    green: float
    blue: float


class Weighted(NamedTuple):
    """A style picture and its weight among several."""

    picture: Path
    weight: float


def _numbers(text: str, count: int, example: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ValueError(f"'{text}' is not {count} numbers with commas between, such as {example}")
    return values


def parse_range(text: str) -> Range:
    """`0,255` → (0.0, 255.0)."""
    low, high = _numbers(text, 2, "0,255")
    if low >= high:
        raise ValueError(f"'{text}' is no range: the first number must be the smaller one")
    return Range(low, high)


def parse_triple(text: str) -> Triple:
    """`0.485,0.456,0.406`, for red, green, blue; one number stands for all three."""
    if "," not in text:
        text = ",".join([text] * 3)
    red, green, blue = _numbers(text, 3, "0.485,0.456,0.406")
    return Triple(red, green, blue)


def parse_divisor(text: str) -> Triple:
    """As `parse_triple`, each number above 0."""
    triple = parse_triple(text)
    if min(triple) <= 0:
        raise ValueError(f"'{text}' is divided by: each number must be above 0")
    return triple


def parse_weighted(text: str) -> Weighted:
    """`wave.jpg` or `wave.jpg:0.7`; without a weight it is 1."""
    picture, colon, weight = text.rpartition(":")
    try:
        return Weighted(Path(picture), float(weight)) if colon else Weighted(Path(text), 1.0)
    except ValueError:
        return Weighted(Path(text), 1.0)  # a colon in the file's own name
