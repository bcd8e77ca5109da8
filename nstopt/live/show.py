"""Run the displays of a session side by side until one of them, or the source, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

from nstopt.live.session import Session

LOOK_S = 0.1


async def show(session: Session, displays: Sequence[Coroutine[None, None, None]]) -> None:
    """Run the displays of a session that has started. Raises what stops the session or a display."""
    tasks = [asyncio.create_task(work) for work in (*displays, _until_ended(session))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_ended(session: Session) -> None:
    while not session.capture.ended.is_set() and session.pipeline.error is None:
        await asyncio.sleep(LOOK_S)
    if session.pipeline.error:
        raise session.pipeline.error
