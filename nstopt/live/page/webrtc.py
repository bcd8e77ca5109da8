"""WebRTC through aiortc: the results as a video track, and the browser's own camera as a source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import h264, vpx
from aiortc.mediastreams import MediaStreamError

from nstopt.errors import NstoptError
from nstopt.live.barcode import with_bar
from nstopt.live.reader import Reader
from nstopt.live.shots import Shot, Stylized
from nstopt.live.slot import Broadcast, ClosedError, Slot

CLOCK_HZ = 90_000
# aiortc's limits are those of a call, and no option changes them. Stylized pictures are all texture.
FIRST_BITS_S, MOST_BITS_S = 4_000_000, 20_000_000
vpx.DEFAULT_BITRATE, vpx.MAX_BITRATE = FIRST_BITS_S, MOST_BITS_S
h264.DEFAULT_BITRATE, h264.MAX_BITRATE = FIRST_BITS_S, MOST_BITS_S


class ResultTrack(MediaStreamTrack):
    """The newest results, each with the bar of its time below it."""

    kind = "video"

    def __init__(self, results: Broadcast[Stylized]) -> None:
        super().__init__()
        self._reader = Reader(results)
        self._begin: float | None = None

    async def recv(self) -> av.VideoFrame:
        try:
            shown = await self._reader.next()
        except ClosedError:
            self.stop()
            raise MediaStreamError from None
        if self._begin is None:
            self._begin = shown.captured
        frame = av.VideoFrame.from_ndarray(with_bar(shown.picture, shown.captured), format="rgb24")
        frame.pts = round((shown.captured - self._begin) * CLOCK_HZ)
        frame.time_base = Fraction(1, CLOCK_HZ)
        return frame

    def stop(self) -> None:
        self._reader.close()
        super().stop()


class BrowserCamera:
    """A source whose frames a browser sends. Those that nobody has taken are replaced by newer ones. A shot's time is
    that of its arrival."""

    name = "the browser's camera"
    reconnects = False

    def __init__(self) -> None:
        self._slot: Slot[Shot] = Slot()

    async def receive(self, track: MediaStreamTrack) -> None:
        """Take the track's frames until it ends. aiortc queues what is not taken, so this never waits."""
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, av.VideoFrame):
                    self._slot.put(Shot(frame, time.monotonic()))
        except MediaStreamError:
            self._slot.close()

    def close(self) -> None:
        self._slot.close()

    def shots(self) -> Iterator[Shot]:
        try:
            while shot := self._slot.take():
                yield shot
        except ClosedError:
            return


async def answer(sdp: str, connection: RTCPeerConnection, track: ResultTrack) -> str:
    """Answer a browser's offer with a track, and return the answer's SDP. Raises NstoptError for an offer that aiortc
    cannot read."""
    try:
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        connection.addTrack(track)
        await connection.setLocalDescription(await connection.createAnswer())
    except Exception as error:  # its parser raises whatever the text leads it to
        raise NstoptError(f"this WebRTC offer cannot be answered: {type(error).__name__} {error}") from error
    return connection.localDescription.sdp


def new_connection() -> RTCPeerConnection:
    """Return a connection that asks no server in the internet for its address."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))
