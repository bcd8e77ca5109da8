"""Serve a session's page from a thread."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nstopt.live.page.server import Address, PageServer, serve
from nstopt.live.session import Session
from nstopt.live.show import show
from nstopt.live.sources import Source


@contextmanager
def served(session: Session, session_of: Callable[[Source], Session], host: str = "127.0.0.1") -> Iterator[str]:
    """Run a session and its page on a free port. Yields the page's address, without a slash at its end."""
    loop, addresses = asyncio.new_event_loop(), queue.Queue[str]()

    async def run() -> None:
        await show(session, [serve(PageServer(session, session_of, Address(host, 0)), addresses.put)])

    session.start()
    task = loop.create_task(run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    try:
        yield addresses.get(timeout=10).rstrip("/")
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        session.close()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
