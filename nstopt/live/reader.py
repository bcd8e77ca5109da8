"""Read the results of a pipeline from asyncio."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from types import TracebackType

from nstopt.live.shots import Stylized
from nstopt.live.slot import Broadcast


class Reader:
    """The newest result for one viewer, without a queue: a viewer that is slow, or stops reading, gets the newest one
    next. Use it as a context manager, on the event loop."""

    def __init__(self, results: Broadcast[Stylized]) -> None:
        loop, self._came = asyncio.get_running_loop(), asyncio.Event()
        self._stack = ExitStack()
        self._slot = self._stack.enter_context(results.subscribe(lambda: loop.call_soon_threadsafe(self._came.set)))

    async def next(self) -> Stylized:
        """Wait for the next result. Raises ClosedError when there will be none."""
        while True:
            self._came.clear()
            shown = self._slot.take(timeout_s=0)
            if shown is not None:
                return shown
            await self._came.wait()

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
