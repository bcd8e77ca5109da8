"""A live session under load: three times as many frames as the net can take, and viewers that come, go, and stop
reading.

The camera draws the time of capture into its pictures as a bar, in the left half, where the page shows the camera's own
pixels. So a viewer measures latency from pixels alone. The session runs in a process of its own, whose memory is
watched.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import multiprocessing
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import psutil
from PIL import Image

from nstopt.errors import DeviceError, NstoptError
from nstopt.live import barcode
from nstopt.live.controls import Controls
from nstopt.live.memory import keep_memory_flat
from nstopt.live.page.server import Address, PageServer, serve
from nstopt.live.session import Session, load_styles
from nstopt.live.show import show
from nstopt.live.sources import MOVING_PICTURE_SIZE, MovingPicture
from nstopt.pictures.files import Picture
from nstopt.pictures.noise import noise

OVERLOAD = 3.0
PROBES = 8
START_S, MEMORY_S, VISIT_S = 120.0, 0.5, 2.0
# Share of the time, before it begins, in which nothing counts: the allocator's pools fill while viewers come and go.
WARM_UP_SHARE = 0.2
BAR_SHARE = 16
MIB = 2**20
# Limits of the change between the first and the last window.
LATENCY_MOVED, MEMORY_MOVED = 0.10, 0.02


class Window(NamedTuple):
    """A part of the time: frames that a viewer saw, milliseconds from capture to its pixels, and MiB of the session."""

    frames: int
    fps: float
    p50_ms: float
    p99_ms: float
    memory_mib: float


class LoadReport(NamedTuple):
    """The windows of a load test; `visits` counts viewers that came and went."""

    windows: tuple[Window, ...]
    visits: int
    camera_fps: float

    @property
    def latency_moved(self) -> float:
        """Change of the 99th percentile from the first window to the last one."""
        return self.windows[-1].p99_ms / self.windows[0].p99_ms - 1

    @property
    def memory_moved(self) -> float:
        """Change of the memory from the first window to the last one."""
        return self.windows[-1].memory_mib / self.windows[0].memory_mib - 1

    @property
    def is_flat(self) -> bool:
        return abs(self.latency_moved) <= LATENCY_MOVED and abs(self.memory_moved) <= MEMORY_MOVED


@dataclass
class _Seen:
    """What the viewers have measured: (time, latency in ms) of frames, (time, MiB) of memory."""

    frames: list[tuple[float, float]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    visits: int = 0
    errors: list[Exception] = field(default_factory=list)


def run_load(bundle: Path, seconds: float, windows: int = 10) -> LoadReport:
    """Load a session of an engine for some seconds, and divide them into windows. Raises DeviceError if the session
    does not start or a viewer fails."""
    seen, stop = _Seen(), threading.Event()
    with _served(bundle) as (address, camera_fps, process):
        stream = f"{address}stream.mjpg"
        works: tuple[Callable[[], None], ...] = (
            partial(_measure, stream, seen, stop),
            partial(_watch, stream, stop),
            partial(_visit, stream, seen, stop),
            partial(_stall, address, stop),
        )
        threads = [threading.Thread(target=_guarded, args=(work, seen, stop), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        stop.wait(WARM_UP_SHARE * seconds)
        begin = time.monotonic()
        while not stop.wait(MEMORY_S) and time.monotonic() < begin + seconds:
            seen.memory.append((time.monotonic(), process.memory_info().rss / MIB))
        stop.set()
        for thread in threads:
            thread.join(START_S)
    if seen.errors:
        raise DeviceError(f"a viewer failed: {seen.errors[0]}") from seen.errors[0]
    edges = np.linspace(begin, begin + seconds, windows + 1)
    parts = tuple(_window(seen, *edge) for edge in itertools.pairwise(edges))
    return LoadReport(parts, seen.visits, camera_fps)


def _window(seen: _Seen, begin: float, end: float) -> Window:
    latencies = [latency for at, latency in seen.frames if begin <= at < end] or [float("nan")]
    memory = [mib for at, mib in seen.memory if begin <= at < end] or [float("nan")]
    p50, p99 = np.percentile(latencies, (50, 99))
    return Window(len(latencies), len(latencies) / (end - begin), float(p50), float(p99), float(np.median(memory)))


@contextmanager
def _served(bundle: Path) -> Iterator[tuple[str, float, psutil.Process]]:
    """Serve a session of an engine in another process. Yields its address, the camera's rate and the process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(bundle, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_S):
            raise DeviceError(f"{bundle}: the session did not start within {START_S:.0f} seconds")
        started = ours.recv()
        if isinstance(started, NstoptError):
            raise started
        address, camera_fps = started
        yield address, camera_fps, psutil.Process(process.pid)
    except EOFError as error:
        raise DeviceError(f"{bundle}: the session's process ended before it was ready") from error
    finally:
        process.terminate()
        process.join()


def _serve(bundle: Path, pipe: Connection) -> None:
    """Run a session until the process is ended: the body of the other process. Sends the page's address and the
    camera's rate, or the error that stops it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    try:
        _serve_loaded(bundle, pipe)
    except NstoptError as error:
        pipe.send(error)


def _serve_loaded(bundle: Path, pipe: Connection) -> None:
    with ExitStack() as stack:
        (style,) = load_styles([bundle], stack)
        size = style.engine.shape.sizes.only or MOVING_PICTURE_SIZE
        picture = noise(size, style.engine.shape.batch or 1)
        style.engine(picture)
        begin = time.monotonic()
        for _ in range(PROBES):
            style.engine(picture)
        fps = OVERLOAD * PROBES / (time.monotonic() - begin)
        camera = MovingPicture(size, fps, draw_bar)
        session = Session([style], Controls(style.name, split=0.5), camera, Path(), lambda line: None)
        server = PageServer(session, lambda source: session, Address("127.0.0.1", 0))
        session.start()
        keep_memory_flat()
        asyncio.run(show(session, [serve(server, lambda address: pipe.send((address, fps)))]))


def draw_bar(picture: Picture, captured: float) -> None:
    """Draw the time of capture over the upper edge of the left half."""
    height, width = picture.shape[:2]
    barcode.draw(picture[: height // BAR_SHARE, : width // 2], barcode.stamp(captured))


def read_bar(picture: Picture) -> int:
    """Return the stamp that `draw_bar` drew."""
    height, width = picture.shape[:2]
    return barcode.read(picture[: height // BAR_SHARE, : width // 2])


def _guarded(work: Callable[[], None], seen: _Seen, stop: threading.Event) -> None:
    try:
        work()
    except Exception as error:
        if not stop.is_set():
            seen.errors.append(error)
            stop.set()


def _frames(address: str) -> Generator[bytes, None, None]:
    """The JPEG files of an MJPEG stream."""
    with urllib.request.urlopen(address, timeout=START_S) as stream:
        while line := stream.readline():
            if line.startswith(b"Content-Length"):
                stream.readline()
                yield stream.read(int(line.split()[1]))


def _measure(address: str, seen: _Seen, stop: threading.Event) -> None:
    for jpeg in _frames(address):
        arrived = time.monotonic()
        picture = np.asarray(Image.open(io.BytesIO(jpeg)))
        seen.frames.append((arrived, float(barcode.age_ms(read_bar(picture), arrived))))
        if stop.is_set():
            return


def _watch(address: str, stop: threading.Event) -> None:
    """A second viewer, who is there all the time."""
    for _ in _frames(address):
        if stop.is_set():
            return


def _visit(address: str, seen: _Seen, stop: threading.Event) -> None:
    """Viewers who come and go."""
    while not stop.is_set():
        with closing(_frames(address)) as frames:
            leave = time.monotonic() + VISIT_S
            for _ in frames:
                if time.monotonic() > leave or stop.is_set():
                    break
        seen.visits += 1


def _stall(address: str, stop: threading.Event) -> None:
    """A viewer who stops reading, and comes again when the server has let go."""
    parts = urlsplit(address)
    while not stop.is_set():
        with closing(socket.create_connection((parts.hostname, parts.port))) as idle:
            idle.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            idle.recv(1)
            with suppress(TimeoutError):
                stop.wait(4 * VISIT_S)
