"""The display matrix of a clip: how its frames are turned and mirrored for display."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, cast

import av
import numpy as np
from av.sidedata.sidedata import Type

from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size


class Orientation(NamedTuple):
    """Transposed first, then rows and columns reversed: the eight ways of a display matrix of right angles."""

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    def upright(self, picture: Picture) -> Picture:
        """Turn a stored frame, uint8 [H, W, 3], as it is displayed; the result is C-contiguous."""
        if self.transposed:
            picture = picture.transpose(1, 0, 2)
        rows, columns = (-1 if reversed_ else 1 for reversed_ in (self.rows_reversed, self.columns_reversed))
        return np.ascontiguousarray(picture[::rows, ::columns])

    def displayed(self, height: int, width: int) -> Size:
        """Return the size at which stored frames of `height` x `width` are displayed."""
        return Size(width, height) if self.transposed else Size(height, width)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Read a frame's display matrix. An angle between right ones counts as the nearest right one."""
    matrix: Any = cast(Any, frame.side_data).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    # x' = a x + c y, y' = b x + d y; the nine int32 are a b u c d v tx ty w, in the machine's byte order.
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, d < 0, a < 0)
    return Orientation(True, b < 0, c < 0)
