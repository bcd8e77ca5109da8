"""Video files as frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from nstopt.errors import MediaError
from nstopt.files import check_regular
from nstopt.pictures.files import Picture
from nstopt.pictures.size import MIN_SIDE


def frames(path: Path, every: int = 1) -> Iterator[Picture]:
    """The frames of a video's first picture track in the order shown, uint8 RGB [H, W, 3]: the first, and every
    `every`-th after it.

    Raises MediaError, when a frame is asked for, if the file is missing, is no video, has no frame, has frames smaller
    than 16 pixels a side, or cannot be decoded to its end; ValueError if `every` is below 1.
    """
    if every < 1:
        raise ValueError(f"every is {every}, but must be at least 1")
    count = 0
    try:
        check_regular(path)
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise MediaError(f"{path}: no picture track in this file; give a video such as .mp4")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for count, frame in enumerate(container.decode(stream), start=1):
                if min(frame.width, frame.height) < MIN_SIDE:
                    raise MediaError(
                        f"{path}: its frames are {frame.height}x{frame.width}; each side needs {MIN_SIDE} pixels"
                    )
                if (count - 1) % every == 0:
                    yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such video") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{path}: not a readable video (after {count} frames: {reason})") from error
    if count == 0:
        raise MediaError(f"{path}: a video without a frame")
