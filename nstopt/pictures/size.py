"""Picture sizes, always height before width; and the sizes that an engine takes: any, one, or several."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

MIN_SIDE = 16
MAX_SIDE = 16384


class Size(NamedTuple):
    """Height and width in pixels; prints as `HEIGHTxWIDTH`."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read `512` (square) or `480x640` (height x width). Raises ValueError with a one-line reason."""
        match = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", text.strip())
        if match is None:
            raise ValueError(f"'{text}' is not a size: write 512, or HEIGHTxWIDTH such as 480x640")
        size = cls(int(match[1]), int(match[2] or match[1]))
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
            raise ValueError(f"size {size} is out of range: each side must lie in {MIN_SIDE}..{MAX_SIDE}")
        return size


# The size of an engine, a bench or a projection for which none is asked.
DEFAULT_SIZE = Size(512, 512)


class Sizes:
    """The picture sizes that an engine takes: those listed, or any size where none is listed."""

    def __init__(self, *listed: Size) -> None:
        self.listed = tuple(dict.fromkeys(listed))

    @property
    def is_any(self) -> bool:
        """True if pictures of every size are taken."""
        return not self.listed

    @property
    def only(self) -> Size | None:
        """The one size that is taken; None if there are several, or any."""
        return self.listed[0] if len(self.listed) == 1 else None

    @property
    def first(self) -> Size:
        """The size at which the engine is calibrated and judged: the first one listed, or 512x512."""
        return self.listed[0] if self.listed else DEFAULT_SIZE

    def nearest(self, height: int, width: int) -> Size:
        """The size to run a picture of `height` x `width` pixels at: its own where that is taken, or else the one in
        which it is resampled least when scaled to fit, and then the one with the least area left to fill."""
        own = Size(height, width)
        return own if own in self else min(self.listed, key=lambda size: _misfit(own, size))

    def __contains__(self, size: object) -> bool:
        return self.is_any or size in self.listed

    def __iter__(self) -> Iterator[Size]:
        return iter(self.listed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sizes) and self.listed == other.listed

    def __hash__(self) -> int:
        return hash(self.listed)

    def __str__(self) -> str:
        return ", ".join(map(str, self.listed)) or "any size"

    def __repr__(self) -> str:
        return f"Sizes({', '.join(map(repr, self.listed))})"


def _misfit(picture: Size, frame: Size) -> tuple[float, float]:
    """(how far scaling `picture` to fit into `frame` is from 1, the share of `frame` that is left to fill)."""
    scale = min(frame.height / picture.height, frame.width / picture.width)
    filled = scale * scale * picture.height * picture.width / (frame.height * frame.width)
    return round(abs(math.log(scale)), 9), 1 - filled
