"""Colors of video: the tags of a clip, and exact conversion between its frames and 8-bit RGB."""

from __future__ import annotations

from typing import NamedTuple

import av
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from nstopt.pictures.files import Picture

# Numbers of ITU-T H.273, which FFmpeg uses too.
RGB, BT709, UNSPECIFIED = 0, 1, 2
TRANSFERS_OF_HDR = {16: "PQ", 18: "HLG"}
# The matrices that FFmpeg's scaler can convert with, by their number in H.273.
MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
HD_HEIGHT = 720
# Without these flags the scaler takes short cuts that are off by up to three levels.
EXACT = int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)


class Color(NamedTuple):
    """The color tags of a clip, as numbers of H.273: `matrix` from YUV to RGB, `primaries` and `transfer`; `range` is 1
    for limited, 2 for full, 0 where the clip does not say."""

    matrix: int
    range: int
    primaries: int
    transfer: int

    @property
    def hdr(self) -> str | None:
        """The name of the clip's HDR transfer, PQ or HLG; None for SDR."""
        return TRANSFERS_OF_HDR.get(self.transfer)

    def stored(self) -> Color:
        """The tags of a result, which is stored as YUV: those of the clip, or BT.709 if the clip is stored as RGB."""
        return self._replace(matrix=BT709, range=int(ColorRange.MPEG)) if self.matrix == RGB else self

    def conversion(self, height: int) -> int:
        """The matrix to convert with. Where a clip does not name one, players take BT.709 from 720 lines on."""
        return int(MATRICES.get(self.matrix, Colorspace.ITU709 if height >= HD_HEIGHT else Colorspace.ITU601))


class ToRgb:
    """Converts frames of a clip to uint8 RGB [H, W, 3]."""

    def __init__(self, color: Color) -> None:
        self._color = color
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, width: int, height: int) -> Picture:
        """Convert `frame`, scaled to `width` x `height` where a clip changes its size midway."""
        converted = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=self._color.conversion(height),
            interpolation=EXACT,
            threads=1,
        )
        picture: Picture = converted.to_ndarray()  # type: ignore[assignment]
        return picture


class FromRgb:
    """Converts uint8 RGB [H, W, 3] to frames of a pixel format, tagged with `color`."""

    def __init__(self, color: Color, pixel_format: str) -> None:
        self._color = color
        self._format = pixel_format
        self._reformatter = VideoReformatter()

    def __call__(self, picture: Picture) -> av.VideoFrame:
        converted = self._reformatter.reformat(
            av.VideoFrame.from_numpy_buffer(picture, "rgb24"),
            format=self._format,
            dst_colorspace=self._color.conversion(picture.shape[0]),
            src_color_range=ColorRange.JPEG,
            dst_color_range=self._color.range or ColorRange.MPEG,
            interpolation=EXACT,
            threads=1,
        )
        converted.colorspace, converted.color_range = self._color.matrix, self._color.range
        converted.color_primaries, converted.color_trc = self._color.primaries, self._color.transfer
        return converted
