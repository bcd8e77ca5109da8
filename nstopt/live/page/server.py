"""The HTTP server of the page."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from nstopt.errors import NstoptError
from nstopt.live.page.access import Access, Handler, add_headers, is_loopback
from nstopt.live.page.messages import MAX_BYTES
from nstopt.live.page.mjpeg import send_mjpeg
from nstopt.live.page.viewer import Viewer
from nstopt.live.session import Session
from nstopt.live.sources import Source

PAGE = Path(__file__).with_name("page.html")
MAX_VIEWERS = 16
HEARTBEAT_S = 10.0
# Seconds that open connections get to end when the server does.
FAREWELL_S = 0.5


class Address(NamedTuple):
    """Where the server listens. Port 0 takes any free one."""

    host: str
    port: int


class PageServer:
    """Shows one session to several viewers. `own_session` makes a session of the same engines for a viewer's own
    camera."""

    def __init__(self, session: Session, own_session: Callable[[Source], Session], address: Address) -> None:
        self._session, self._own_session = session, own_session
        self._address = address
        self._access = Access.of(address.host)
        self._recordings: dict[str, Path] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._streams = 0
        self._runner = web.AppRunner(self._application(), shutdown_timeout=FAREWELL_S, access_log=None)

    async def start(self) -> str:
        """Begin to listen, and return the page's address. Raises NstoptError if the port is taken or not allowed."""
        host, port = self._address
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise NstoptError(_why(self._address, error)) from error
        except UnicodeError as error:  # as Python encodes it
            await self._runner.cleanup()
            raise NstoptError(f"'{host}' is not the name of a host") from error
        bound = self._runner.addresses[0][1]
        name = host if is_loopback(host) else socket.gethostname()
        name = f"[{name}]" if ":" in name else name
        token = f"?token={self._access.token}" if self._access.token else ""
        return f"http://{name}:{bound}/{token}"

    async def close(self) -> None:
        """Say good-bye to all viewers and stop listening."""
        for open_one in list(self._sockets):
            await open_one.close(message=b"nstopt live has ended")
        await self._runner.cleanup()

    def _application(self) -> web.Application:
        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._access.check(request, handler)

        application = web.Application(middlewares=[check])
        application.on_response_prepare.append(add_headers)
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/socket", self._socket),
                web.get("/stream.mjpg", self._stream),
                web.get("/recordings/{name}", self._recording),
            ]
        )
        return application

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._check_room()
        opened = web.WebSocketResponse(max_msg_size=2 * MAX_BYTES, heartbeat=HEARTBEAT_S)
        await opened.prepare(request)
        self._sockets.add(opened)
        try:
            await Viewer(opened, self._session, self._own_session, self._keep).run()
        finally:
            self._sockets.discard(opened)
        return opened

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self._check_room()
        self._streams += 1
        try:
            return await send_mjpeg(request, self._session.pipeline.results, "bar" in request.query)
        finally:
            self._streams -= 1

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        path = self._recordings.get(request.match_info["name"])
        if path is None or not path.is_file():
            raise web.HTTPNotFound(text="There is no such recording.")
        return web.FileResponse(path)

    def _keep(self, path: Path) -> None:
        self._recordings[path.name] = path

    def _check_room(self) -> None:
        if max(len(self._sockets), self._streams) >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} viewers are here already.")


def _why(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {address.port} of {address.host} is taken: choose another one with --port, or any with --port 0"
    return f"cannot listen on {address.host}, port {address.port}: {error.strerror or error}"


async def serve(server: PageServer, tell: Callable[[str], None]) -> None:
    """Serve the page until cancelled. `tell` gets its address. Raises NstoptError if the port is taken."""
    try:
        tell(await server.start())
        await asyncio.Event().wait()
    finally:
        await server.close()
