"""One open page: its WebSocket, its WebRTC connection, and its own session if it sends its own camera."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec
from aiohttp import WSMsgType, web
from aiortc import MediaStreamTrack, RTCPeerConnection
from PIL import Image

from nstopt.errors import NstoptError
from nstopt.live.controls import Change
from nstopt.live.governor import SCALES
from nstopt.live.page import messages
from nstopt.live.page.messages import Answer, Offer, Ping, Pong, Record, Refused, Reply, Saved, Shown, Welcome
from nstopt.live.page.webrtc import BrowserCamera, ResultTrack, answer, new_connection
from nstopt.live.session import Session
from nstopt.live.sources import Source

STATUS_S = 0.25


class Viewer:
    """Serves one page until it is closed. `own_session` makes a session of the shared engines for another source;
    `saved` is told each finished recording."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        shared: Session,
        own_session: Callable[[Source], Session],
        saved: Callable[[Path], None],
    ) -> None:
        self._socket, self._shared, self._own_session, self._saved = socket, shared, own_session, saved
        self._session = shared
        self._connection: RTCPeerConnection | None = None
        self._track: ResultTrack | None = None
        self._camera: BrowserCamera | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer requests, and send the status, until the page closes the socket."""
        await self._send(Welcome(self._shared.pipeline.any_size, SCALES))
        self._spawn(self._send_status())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._handle(message.data)
        finally:
            for task in self._tasks:
                task.cancel()
            await self._leave()

    async def _handle(self, text: str) -> None:
        try:
            await self._fulfill(messages.decode(text))
        except (NstoptError, msgspec.DecodeError) as error:
            await self._send(Refused(str(error)))

    async def _fulfill(self, request: messages.Request) -> None:
        session = self._session
        if isinstance(request, Change):
            session.change(request)
        elif isinstance(request, Ping):
            await self._send(Pong(request.sent, time.monotonic() * 1e3))
        elif isinstance(request, Offer):
            await self._connect(request)
        elif isinstance(request, Record) and request.on:
            session.start_recording()
        elif isinstance(request, Record):
            path = await asyncio.to_thread(session.stop_recording)
            self._saved(path)
            await self._send(Saved(path.name))
        else:
            await self._socket.send_bytes(await asyncio.to_thread(screenshot, session))

    async def _connect(self, offer: Offer) -> None:
        """Answer an offer by a new connection in place of the one before."""
        await self._leave()
        self._connection = new_connection()
        if offer.camera == "browser":
            self._camera = BrowserCamera()
            self._session = self._own_session(self._camera)
            self._connection.on("track", self._receive)
        self._track = ResultTrack(self._session.pipeline.results)
        self._spawn(self._answer(offer.sdp, self._connection, self._track))

    async def _answer(self, sdp: str, connection: RTCPeerConnection, track: ResultTrack) -> None:
        try:
            await self._send(Answer(await answer(sdp, connection, track)))
            if self._session is not self._shared:
                await asyncio.to_thread(self._session.start)
        except NstoptError as error:
            await self._send(Refused(str(error)))

    def _receive(self, track: MediaStreamTrack) -> None:
        if track.kind == "video" and self._camera:
            self._spawn(self._camera.receive(track))

    async def _leave(self) -> None:
        """Close the connection, and the session of the browser's own camera."""
        connection, self._connection = self._connection, None
        track, self._track = self._track, None
        session, self._session = self._session, self._shared
        camera, self._camera = self._camera, None
        if track:
            track.stop()
        if connection:
            await connection.close()
        if camera:
            camera.close()
        if session is not self._shared:
            await asyncio.to_thread(session.close)

    async def _send_status(self) -> None:
        while True:
            await self._send(Shown(self._session.status()))
            await asyncio.sleep(STATUS_S)

    async def _send(self, reply: Reply) -> None:
        with contextlib.suppress(ConnectionResetError):  # the page has just been closed
            await self._socket.send_str(messages.encode(reply))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run beside the requests. asyncio keeps no reference to a task by itself."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def screenshot(session: Session) -> bytes:
    """Return the newest result as a PNG file. Raises NstoptError if there is none yet."""
    shown = session.pipeline.results.latest
    if shown is None:
        raise NstoptError("there is no picture yet")
    file = io.BytesIO()
    Image.fromarray(shown.picture).save(file, "png", compress_level=3)
    return file.getvalue()
