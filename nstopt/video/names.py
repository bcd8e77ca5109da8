"""Tell videos from pictures."""

from __future__ import annotations

from pathlib import Path

from nstopt.pictures.files import SUFFIXES as PICTURES

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"}
    | {".3gp", ".mxf", ".vob", ".y4m", ".h264", ".hevc"}
)


def is_video(path: Path) -> bool:
    """Return True if a path names a video: by its suffix, or else if it opens as one with moving pictures."""
    if path.suffix.lower() in SUFFIXES | PICTURES or not path.is_file():
        return path.suffix.lower() in SUFFIXES
    import av  # here, since most calls are about a picture

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            is_still = container.format.name == "image2" or container.format.name.endswith("_pipe")
            return bool(container.streams.video) and not is_still
    except (av.FFmpegError, OSError):
        return False
