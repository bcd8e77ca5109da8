"""What travels through the threads: shots from a source, and stylized pictures to the displays."""

from __future__ import annotations

from typing import NamedTuple

import av

from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size


class Shot(NamedTuple):
    """A frame as its source gave it. `captured` is the time of its capture, in seconds of time.monotonic()."""

    frame: av.VideoFrame
    captured: float

    @property
    def size(self) -> Size:
        return Size(self.frame.height, self.frame.width)


class Stylized(NamedTuple):
    """A picture to show, uint8 RGB [H, W, 3], and `before`, the net's input, of the same size. `style` names the
    engine; `captured` is the shot's."""

    picture: Picture
    before: Picture
    style: str
    captured: float
