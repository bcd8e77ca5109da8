"""The cover pictures of a video file: picture tracks of one packet without a time; in Matroska, attachments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.stream import Stream

# Name and type of an attachment, by codec.
ATTACHED = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}


def is_cover(stream: Stream) -> bool:
    """Return True for the track of a cover."""
    return bool(stream.disposition & Disposition.attached_pic)


def attach_cover(source: Path, cover: Stream, output: OutputContainer) -> None:
    """Attach the cover of the file `source` to a Matroska file. Raises ValueError for a codec not in ATTACHED."""
    if cover.codec_context.name not in ATTACHED:
        raise ValueError(f"{cover.codec_context.name} covers cannot be attached")
    with av.open(str(source)) as container:  # of its own: reading a cover loses the packets before it
        picture = next(packet for packet in container.demux(container.streams[cover.index]) if packet.size)
        output.add_attachment(*ATTACHED[cover.codec_context.name], bytes(picture))
