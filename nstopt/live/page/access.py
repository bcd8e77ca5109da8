"""Who may see the page: this machine only, or whoever has the token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

COOKIE = "nstopt-token"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Nothing from elsewhere may be loaded, and no other page may frame this one.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """`token` is None where the server listens on this machine only."""

    token: str | None

    @classmethod
    def of(cls, host: str) -> Access:
        """The access that a server on this address gives: a new token, unless only this machine reaches it."""
        return cls(None if is_loopback(host) else secrets.token_urlsafe(16))

    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, with 403 if it may not. A token in the address moves into a cookie."""
        host = urlsplit(f"//{request.host}").hostname or ""
        if self.token is None and not is_loopback(host):
            # A page elsewhere may have a name that points to this machine: DNS rebinding.
            raise web.HTTPForbidden(text="This server answers to localhost only.")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="This request comes from another page.")
        if self.token is None:
            return await handler(request)
        given = request.query.get("token")
        if not self._fits(given) and not self._fits(request.cookies.get(COOKIE)):
            raise web.HTTPForbidden(text="Wrong token: open the whole address that nstopt live printed.")
        if given is None or request.path != "/":
            return await handler(request)
        moved = web.HTTPFound("/")
        moved.set_cookie(COOKIE, self.token, httponly=True, samesite="Strict")
        raise moved

    def _fits(self, given: str | None) -> bool:
        return self.token is not None and given is not None and hmac.compare_digest(given.encode(), self.token.encode())


def is_loopback(host: str) -> bool:
    """Return True for an address or a name that stands for this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal of aiohttp: the page's rules for the browser go with every answer."""
    response.headers.update(HEADERS)
