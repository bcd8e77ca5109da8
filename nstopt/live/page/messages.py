"""The messages between the page and the server, as JSON over a WebSocket. What does not fit its type is refused."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nstopt.live.controls import Change
from nstopt.live.session import Status

MAX_BYTES = 1 << 16


class Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="offer"):
    """A WebRTC offer: to see the shared session, or to have one of its own with the browser's camera."""

    sdp: Annotated[str, Meta(max_length=MAX_BYTES)]
    camera: Literal["here", "browser"]


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="ping"):
    """The page's clock in milliseconds, for the offset between the two clocks."""

    sent: float


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="record"):
    """Begin or finish a recording."""

    on: bool


class Screenshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="screenshot"):
    """Send the newest result as a PNG file, in a binary message."""


Request = Change | Offer | Ping | Record | Screenshot


class Welcome(msgspec.Struct, frozen=True, tag_field="type", tag="welcome"):
    """The styles, and which of them have an engine of any size."""

    styles: dict[str, bool]
    scales: tuple[float, ...]


class Shown(msgspec.Struct, frozen=True, tag_field="type", tag="status"):
    """The state of the session."""

    status: Status


class Answer(msgspec.Struct, frozen=True, tag_field="type", tag="answer"):
    sdp: str


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    """The page's own clock again, and the server's, both in milliseconds."""

    sent: float
    clock: float


class Saved(msgspec.Struct, frozen=True, tag_field="type", tag="saved"):
    """A recording is finished, and can be fetched from /recordings/NAME."""

    name: str


class Refused(msgspec.Struct, frozen=True, tag_field="type", tag="refused"):
    """Why a request was not fulfilled."""

    reason: str


Reply = Welcome | Shown | Answer | Pong | Saved | Refused
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def decode(text: str) -> Request:
    """Read a request. Raises msgspec.DecodeError, which msgspec.ValidationError is too."""
    return _requests.decode(text)


def encode(reply: Reply) -> str:
    return msgspec.json.encode(reply).decode()
