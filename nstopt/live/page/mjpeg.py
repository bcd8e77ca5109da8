"""MJPEG: one HTTP answer that never ends, with a JPEG for each result. The fallback where WebRTC finds no way."""

from __future__ import annotations

import asyncio
import io
import socket
from contextlib import suppress

from aiohttp import web
from PIL import Image

from nstopt.live.barcode import with_bar
from nstopt.live.reader import Reader
from nstopt.live.shots import Stylized
from nstopt.live.slot import Broadcast, ClosedError

BOUNDARY = "nstopt"
QUALITY = 85
# The kernel keeps so much for a viewer that reads slowly; by default it would keep seconds of frames.
SEND_BUFFER_BYTES = 1 << 17
# A viewer that takes no byte for so long is let go.
STALLED_S = 10.0


async def send_mjpeg(request: web.Request, results: Broadcast[Stylized], has_bar: bool) -> web.StreamResponse:
    """Answer with the results as they come, each with the bar of its time below it if `has_bar` is set."""
    response = web.StreamResponse(headers={"Content-Type": f"multipart/x-mixed-replace; boundary={BOUNDARY}"})
    await response.prepare(request)
    loop, transport = asyncio.get_running_loop(), request.transport
    if transport is None:  # the viewer has gone already
        return response
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    with Reader(results) as reader, suppress(ClosedError, ConnectionError):
        # A browser shows a part when it sees the boundary after it, so each part ends with one.
        await response.write(f"--{BOUNDARY}\r\n".encode())
        while True:
            part = await loop.run_in_executor(None, _part, await reader.next(), has_bar)
            # Not asyncio.wait_for: the exception of its task is a cycle, which would hold the picture.
            stalled = loop.call_later(STALLED_S, transport.abort)
            await response.write(part)
            stalled.cancel()
    return response


def _part(shown: Stylized, has_bar: bool) -> bytes:
    jpeg = to_jpeg(shown, has_bar)
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return b"".join([head.encode(), jpeg, f"\r\n--{BOUNDARY}\r\n".encode()])


def to_jpeg(shown: Stylized, has_bar: bool) -> bytes:
    """Return a result as a JPEG file."""
    file = io.BytesIO()
    picture = with_bar(shown.picture, shown.captured) if has_bar else shown.picture
    Image.fromarray(picture).save(file, "jpeg", quality=QUALITY)
    return file.getvalue()
