"""The codecs that a video can be written in, and the pixel format of a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av

from nstopt.errors import MediaError
from nstopt.pictures.size import Size
from nstopt.video.clip import PixelLayout


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg. `quality` is the option that holds the constant quality, `crf` its default; `odd` states
    that 4:2:0 frames may have odd sides; `segment` is the suffix of a container that keeps its times exactly."""

    encoder: str
    crf: int | None = None
    quality: str = "crf"
    options: Mapping[str, str] = field(default_factory=dict)
    odd: bool = False
    segment: str = ".mp4"


def _x264_options() -> dict[str, str]:
    """Return options with which x264 gives the same bytes each time. Its AVX-512 kernels do not where a frame is not a
    multiple of 128 pixels wide (x264 165, `mbtree`); without them it is as fast."""
    cpu = Path("/proc/cpuinfo")
    has_avx512 = cpu.is_file() and "avx512" in cpu.read_text()
    return {"x264-params": "asm=avx2,fma3,bmi1,bmi2,lzcnt"} if has_avx512 else {}


CODECS = {
    "h264": Codec("libx264", 18, options=_x264_options()),
    "hevc": Codec("libx265", 20, options={"x265-params": "log-level=none"}),
    "av1": Codec("libsvtav1", 24),
    "vp9": Codec("libvpx-vp9", 24, options={"b": "0", "row-mt": "1"}, odd=True),
    "ffv1": Codec("ffv1", odd=True),
    "prores": Codec("prores_ks", segment=".mov"),
    "h264-nvenc": Codec("h264_nvenc", 19, "cq"),
    "hevc-nvenc": Codec("hevc_nvenc", 21, "cq"),
    "av1-nvenc": Codec("av1_nvenc", 26, "cq"),
}
TEN_BIT_DEFAULT, DEFAULT, WEBM_DEFAULT = "hevc", "h264", "vp9"


def default_codec(target: Path, bits: int) -> str:
    """Return the codec of a file for which none is asked: H.264, or HEVC for more than 8 bits; VP9 in WebM."""
    if target.suffix.lower() == ".webm":
        return WEBM_DEFAULT
    return TEN_BIT_DEFAULT if bits > 8 else DEFAULT


def named(name: str) -> Codec:
    """Return the codec of a name in CODECS. Raises MediaError for another name."""
    if name not in CODECS:
        raise MediaError(f"unknown codec '{name}'; there are: {', '.join(CODECS)}")
    return CODECS[name]


def choose_pixel_format(codec: Codec, layout: PixelLayout, size: Size) -> str:
    """Return the encoder's pixel format that is nearest to the clip's layout: its bits and color resolution where the
    encoder has them, more color resolution where it has not, and where `size` is odd and needs it.

    Raises MediaError if the encoder has none for frames of this size.
    """
    offered = {one.name for one in av.Codec(codec.encoder, "w").video_formats or ()}
    columns, rows = layout.columns_shared, layout.rows_shared
    if not codec.odd:
        columns, rows = (1 if size.width % 2 else columns), (1 if size.height % 2 else rows)
    bits = sorted((8, 10, 12), key=lambda depth: (depth < layout.bits, abs(depth - layout.bits)))
    for depth in bits:
        for name, shared in (("yuv420p", (2, 2)), ("yuv422p", (2, 1)), ("yuv444p", (1, 1))):
            pixel_format = name if depth == 8 else f"{name}{depth}le"
            if pixel_format in offered and shared[0] <= columns and shared[1] <= rows:
                return pixel_format
    if columns == rows == 2 or codec.odd:
        raise MediaError(f"{codec.encoder} has no YUV pixel format")
    raise MediaError(f"{codec.encoder} cannot store frames of {size} without loss of color: use --codec h264 or ffv1")
