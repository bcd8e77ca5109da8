"""Picture sizes, always height before width."""

from __future__ import annotations

import re
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
