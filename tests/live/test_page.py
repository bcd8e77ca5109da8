"""The page's server: who gets in, what is sent, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import av
import numpy as np
import pytest
from PIL import Image

from live.helpers import SMALL, Inverter, new_session, quiet, running, still, wait_for
from live.serving import served
from nstopt.errors import NstoptError
from nstopt.live.barcode import age_ms, read
from nstopt.live.page import mjpeg, server
from nstopt.live.page.access import Access, is_loopback
from nstopt.live.page.server import PAGE, Address, PageServer
from nstopt.live.session import Session
from nstopt.live.shots import Stylized
from nstopt.live.sources import MovingPicture, Source
from nstopt.pictures.files import Picture


@contextmanager
def page(folder: Path, host: str = "127.0.0.1", source: Source | None = None) -> Iterator[tuple[str, Session]]:
    session = new_session(folder, source=source, say=quiet)
    with served(session, lambda own: new_session(folder, source=own, say=quiet), host) as address:
        yield address, session


def fetch(address: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Return the status, the text and the headers of an answer."""
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def frames(address: str, count: int) -> Iterator[Picture]:
    """The first frames of an MJPEG stream."""
    with urllib.request.urlopen(address, timeout=10) as stream:
        for _ in range(count):
            while not (line := stream.readline()).startswith(b"Content-Length"):
                assert line
            stream.readline()
            jpeg = stream.read(int(line.split()[1]))
            yield np.array(Image.open(io.BytesIO(jpeg)))


def ask(address: str, *texts: str, until: str) -> dict[str, object]:
    """Send messages over the page's socket, and return the first answer of a type."""

    async def run() -> dict[str, object]:
        url = f"{address.replace('http', 'ws')}/socket"
        async with aiohttp.ClientSession() as client, client.ws_connect(url) as opened:
            for text in texts:
                await opened.send_str(text)
            async for message in opened:
                if message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == until:
                    return dict(json.loads(message.data))
        raise AssertionError(f"no message of type {until}")

    return asyncio.run(asyncio.wait_for(run(), 10))


def test_the_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    html = PAGE.read_text()
    assert "//" not in html.replace("// ", "")
    with page(tmp_path) as (address, _):
        status, text, headers = fetch(f"{address}/")
    assert (status, text) == (200, html)
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_on_loopback_other_names_and_other_pages_are_refused(tmp_path: Path) -> None:
    with page(tmp_path) as (address, _):
        assert fetch(f"{address}/", Host="evil.example")[:2] == (403, "This server answers to localhost only.")
        assert fetch(f"{address}/", Origin="http://evil.example")[0] == 403
        assert fetch(f"{address}/stream.mjpg", Origin="null")[0] == 403
        assert fetch(f"{address}/", Origin=address)[0] == 200


def test_elsewhere_a_token_is_needed(tmp_path: Path) -> None:
    with page(tmp_path, host="0.0.0.0") as (address, _):
        parts = urlsplit(address)
        port, token = parts.port, parts.query.removeprefix("token=")
        assert len(token) >= 20
        here = f"http://127.0.0.1:{port}"
        for wrong in ("/", "/?token=", "/?token=wrong", "/socket", "/stream.mjpg", "/recordings/x.mp4?token=%C3%A9"):
            assert fetch(f"{here}{wrong}")[:2] == (
                403, "Wrong token: open the whole address that nstopt live printed."
            )  # fmt: skip
        assert fetch(f"{here}/", Cookie="nstopt-token=wrong")[0] == 403
        assert fetch(f"{here}/", Cookie=f"nstopt-token={token}")[0] == 200
        assert fetch(f"{here}/recordings/x.mp4?token={token}")[0] == 404
        assert next(frames(f"{here}/stream.mjpg?token={token}", 1)).shape == (*SMALL, 3)


def test_the_token_moves_from_the_address_into_a_cookie(tmp_path: Path) -> None:
    async def run(address: str) -> tuple[str, str, str]:
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client,
            client.get(address) as answer,
        ):
            return str(answer.url), answer.history[0].headers["Set-Cookie"], await answer.text()

    with page(tmp_path, host="0.0.0.0") as (address, _):
        parts = urlsplit(address)
        url, cookie, text = asyncio.run(run(f"http://127.0.0.1:{parts.port}/?{parts.query}"))
    assert url == f"http://127.0.0.1:{parts.port}/"
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert text == PAGE.read_text()


def test_mjpeg_shows_the_engines_pictures_with_the_time_of_capture(tmp_path: Path) -> None:
    with page(tmp_path, source=still()) as (address, session):
        *_, last = frames(f"{address}/stream.mjpg?bar", 5)
        age = age_ms(read(last[SMALL.height :]), time.monotonic())
        shown = session.pipeline.results.latest
    assert 0 <= age < 2000
    assert shown
    assert np.abs(last[: SMALL.height].astype(int) - shown.picture).mean() < 8


def test_a_viewer_that_stops_reading_is_let_go_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mjpeg, "STALLED_S", 0.5)
    source = MovingPicture(SMALL, 200.0)
    with page(tmp_path, source=source) as (address, session):
        host, port = urlsplit(address).hostname, urlsplit(address).port
        with closing(socket.socket()) as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect((host, port))
            idle.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_for(lambda: readers(session) == 1)
            assert len(list(frames(f"{address}/stream.mjpg", 20))) == 20
            wait_for(lambda: readers(session) == 0)


def readers(session: Session) -> int:
    return len(session.pipeline.results._subscribed())


def pictures() -> int:
    """The number of results in memory."""
    return sum(type(one) is Stylized for one in gc.get_objects())


def test_viewers_that_go_leave_nothing_behind(tmp_path: Path) -> None:
    gc.collect()
    before = pictures()
    gc.disable()  # what is in a cycle stays
    try:
        with page(tmp_path) as (address, session):
            for _ in range(8):
                assert len(list(frames(f"{address}/stream.mjpg", 2))) == 2
            wait_for(lambda: readers(session) == 0)
            wait_for(lambda: pictures() < before + 4)
    finally:
        gc.enable()


def test_messages_that_do_not_fit_are_answered(tmp_path: Path) -> None:
    with page(tmp_path) as (address, session):
        for text, reason in (
            ("{", "truncated"),
            ('{"type":"change","style":"none"}', "there is no style 'none'; there are: style 1"),
            ('{"type":"change","strength":2}', "Expected `float` <= 1.0"),
            ('{"type":"record","on":false}', "nothing is being recorded"),
            ('{"type":"offer","sdp":"v=0","camera":"here"}', "this WebRTC offer cannot be answered"),
        ):
            assert reason in str(ask(address, text, until="refused")["reason"]), text
        ask(address, '{"type":"change","split":0.5}', '{"type":"ping","sent":1}', until="pong")
        assert session.pipeline.controls.split == 0.5
        wait_for(lambda: readers(session) == 0)


def test_recordings_can_be_fetched_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    with page(tmp_path) as (address, session):
        ask(address, '{"type":"record","on":true}', until="status")
        wait_for(lambda: session._recording and session._recording.frames > 3)
        name = ask(address, '{"type":"record","on":false}', until="saved")["name"]
        with urllib.request.urlopen(f"{address}/recordings/{name}", timeout=10) as answer:
            assert answer.read() == (tmp_path / str(name)).read_bytes()
        for path in ("secret.txt", "..%2Fsecret.txt", "%2Fetc%2Fpasswd"):
            assert fetch(f"{address}/recordings/{path}")[0] == 404


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken, running(new_session(tmp_path)) as session:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        late = PageServer(session, lambda own: session, Address("127.0.0.1", port))
        with pytest.raises(NstoptError, match=f"port {port} of 127.0.0.1 is taken: choose another one with --port"):
            asyncio.run(late.start())


def test_a_host_that_no_name_can_be_is_said(tmp_path: Path) -> None:
    with running(new_session(tmp_path)) as session:
        page_server = PageServer(session, lambda own: session, Address("x" * 100, 0))
        with pytest.raises(NstoptError, match=r"'x{100}' is not the name of a host"):
            asyncio.run(page_server.start())


def test_too_many_viewers_are_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_VIEWERS", 0)
    with page(tmp_path) as (address, _):
        assert fetch(f"{address}/stream.mjpg")[0] == 503


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
    ("192.168.1.2", False), ("localhost.evil.example", False),
])  # fmt: skip
def test_addresses_of_this_machine_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
    assert (Access.of(host).token is None) is expected


def test_an_inverted_picture_goes_through_webrtc(tmp_path: Path) -> None:
    """Without a browser: aiortc on both sides."""
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    from nstopt.live.page.webrtc import ResultTrack, answer, new_connection

    async def run(session: Session) -> Picture:
        viewer, server = RTCPeerConnection(RTCConfiguration(iceServers=[])), new_connection()
        viewer.addTransceiver("video", direction="recvonly")
        await viewer.setLocalDescription(await viewer.createOffer())
        sdp = await answer(viewer.localDescription.sdp, server, ResultTrack(session.pipeline.results))
        await viewer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        track = viewer.getReceivers()[0].track
        for _ in range(9):
            await track.recv()
        frame = await asyncio.wait_for(track.recv(), 10)
        assert isinstance(frame, av.VideoFrame)
        await viewer.close()
        await server.close()
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)

    with running(new_session(tmp_path, Inverter(), source=still())) as session:
        received = asyncio.run(run(session))
        shown = session.pipeline.results.latest
    assert shown
    assert np.abs(received[: SMALL.height].astype(int) - shown.picture).mean() < 10
    assert age_ms(read(received[SMALL.height :]), time.monotonic()) < 10_000
