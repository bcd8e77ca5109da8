"""Where shots come from: a camera, a video file, a stream, or the moving test picture."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av

from nstopt.errors import MediaError
from nstopt.live.moving_picture import moving_picture
from nstopt.live.shots import Shot
from nstopt.pictures.files import Picture
from nstopt.pictures.size import MIN_SIDE, Size

CAMERAS = Path("/dev")
MOVING_PICTURE_SIZE, MOVING_PICTURE_FPS = Size(480, 640), 30.0
# A stream that is silent for so long has failed.
STREAM_TIMEOUT_S = 10.0
# A time stamp of a camera that is further in the past than this is not of this machine's clock.
BELIEVABLE_S = 2.0
STREAM = re.compile(r"(https?|rtsps?|rtmps?|udp|srt|tcp)://", re.IGNORECASE)


class Source(Protocol):
    """`name` is what messages call it. `reconnects` is True if it is waited for when it fails."""

    @property
    def name(self) -> str: ...

    @property
    def reconnects(self) -> bool: ...

    def shots(self) -> Iterator[Shot]:
        """Open the source and yield its shots as they come, until it ends. Raises MediaError if it cannot be opened or
        fails."""
        ...


@dataclass(frozen=True)
class Camera:
    """A camera of this machine, by Video4Linux. The size and the rate are its own unless given."""

    device: Path
    size: Size | None = None
    fps: float | None = None
    reconnects: bool = True

    @property
    def name(self) -> str:
        return f"camera {self.device}"

    def shots(self) -> Iterator[Shot]:
        if not self.device.exists():
            raise MediaError(f"{self.device}: no such camera; {_cameras_here()}")
        options = {"video_size": f"{self.size.width}x{self.size.height}"} if self.size else {}
        options |= {"framerate": f"{self.fps:g}"} if self.fps else {}
        return _decoded(self.name, str(self.device), "v4l2", options)


@dataclass(frozen=True)
class Stream:
    """A stream by its address: RTSP, HTTP and what else FFmpeg opens."""

    url: str
    reconnects: bool = True

    @property
    def name(self) -> str:
        return f"stream {_without_password(self.url)}"

    def shots(self) -> Iterator[Shot]:
        return _decoded(self.name, self.url, None, {"fflags": "nobuffer", "flags": "low_delay"})


@dataclass(frozen=True)
class Clip:
    """A video file at its own speed; again from its start when it ends if `loop` is set."""

    path: Path
    loop: bool = False
    reconnects: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    def shots(self) -> Iterator[Shot]:
        if not self.path.is_file():
            raise MediaError(f"{self.path}: no such video")
        yield from _paced(_decoded(self.name, str(self.path), None, {}))
        while self.loop:
            yield from _paced(_decoded(self.name, str(self.path), None, {}))


@dataclass(frozen=True)
class MovingPicture:
    """The moving test picture. `draw`, if given, draws on each frame, given the time of its capture."""

    size: Size = MOVING_PICTURE_SIZE
    fps: float = MOVING_PICTURE_FPS
    draw: Callable[[Picture, float], None] | None = None
    reconnects: bool = False
    name: str = "moving test picture"

    def shots(self) -> Iterator[Shot]:
        begin = time.monotonic()
        for number in itertools.count():
            _wait_until(begin + number / self.fps)
            captured = time.monotonic()
            picture = moving_picture(self.size, captured - begin)
            if self.draw:
                self.draw(picture, captured)
            yield Shot(av.VideoFrame.from_ndarray(picture, format="rgb24"), captured)


def find_source(text: str, loop: bool = False) -> Source:
    """Return the source that `--source` names: an address, a video file, `test`, or a camera's number or device. Raises
    MediaError if there is no such file."""
    if text == "test":
        return MovingPicture()
    if STREAM.match(text):
        return Stream(text)
    path = Path(text)
    if text.isdecimal() or path.is_char_device():
        return Camera(path if path.is_char_device() else CAMERAS / f"video{text}")
    if not path.is_file():
        raise MediaError(f"{text}: neither a video file nor an address such as rtsp://…; `test` is a test picture")
    return Clip(path, loop)


def first_camera(size: Size | None = None) -> Camera | None:
    """Return the first camera of this machine that gives a frame, which is asked for `size`; None if there is none."""
    for device in _camera_devices():
        shots = Camera(device, size).shots()
        try:
            next(shots)
        except (MediaError, StopIteration):
            continue
        shots.close()  # type: ignore[attr-defined]
        return Camera(device, size)
    return None


def _camera_devices() -> list[Path]:
    return sorted(CAMERAS.glob("video[0-9]*"), key=lambda path: int(path.name.removeprefix("video")))


def _cameras_here() -> str:
    found = ", ".join(map(str, _camera_devices()))
    return f"there are: {found}" if found else "none is connected; --source test shows a moving test picture"


def _decoded(name: str, address: str, format_name: str | None, options: dict[str, str]) -> Iterator[Shot]:
    try:
        timeout = None if format_name else STREAM_TIMEOUT_S
        with av.open(address, format=format_name, options=options, timeout=timeout) as container:
            if not container.streams.video:
                raise MediaError(f"{name}: there is no picture track in it")
            for frame in container.decode(container.streams.video[0]):
                if min(frame.height, frame.width) < MIN_SIDE:
                    raise MediaError(f"{name}: its frames are {frame.height}x{frame.width}; a side needs {MIN_SIDE}")
                yield Shot(frame, _capture_time(frame))
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{name}: cannot be read: {reason}") from error


def _capture_time(frame: av.VideoFrame) -> float:
    """Return the time at which the driver got the frame, which Video4Linux states by the monotonic clock; now, where
    the frame has no such time."""
    now = time.monotonic()
    stamped = frame.time
    return stamped if stamped is not None and 0 <= now - stamped < BELIEVABLE_S else now


def _paced(shots: Iterator[Shot]) -> Iterator[Shot]:
    """Yield the frames of a file when they are due."""
    begin, first = time.monotonic(), None
    for frame, _ in shots:
        if frame.time is not None:
            first = frame.time if first is None else first
            _wait_until(begin + frame.time - first)
        yield Shot(frame, time.monotonic())


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
