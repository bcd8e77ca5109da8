"""The capture thread: reads a source, hands every shot on, and waits for a source that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nstopt.errors import MediaError
from nstopt.live.shots import Shot
from nstopt.live.sources import Source

RECONNECT_S = 1.0
LAST_SHOT_S = 1.0


class Capture:
    """Reads `source` on a thread and calls `feed` with each shot there. `say` gets one line when the source is gone, is
    back, or has ended; `state` is the last of them, empty while shots come. `ended` is set when no more will come."""

    def __init__(self, source: Source, feed: Callable[[Shot], None], say: Callable[[str], None]) -> None:
        self.source = source
        self.state = ""
        self.ended = threading.Event()
        self._feed, self._say = feed, say
        self._stop = threading.Event()
        self._shots = iter(source.shots())
        # A daemon, since a camera that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def first(self) -> Shot:
        """Open the source and return its first shot. Call it once, before `start`. Raises MediaError."""
        shot = next(self._shots, None)
        if shot is None:
            raise MediaError(f"{self.source.name}: it has no frame")
        return shot

    def start(self) -> None:
        """Begin to read on a thread, which `stop` ends."""
        self._thread.start()

    def stop(self) -> None:
        """End after the shot that is being waited for. A source that gives none for LAST_SHOT_S is left behind."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(LAST_SHOT_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for shot in self._shots:
                    if self.state:
                        self._tell("")
                    self._feed(shot)
                    if self._stop.is_set():
                        break
                if not self.source.reconnects:
                    break
                self._wait(f"{self.source.name} has ended")
            except MediaError as error:
                if not self.source.reconnects:
                    self._tell(str(error))
                    break
                self._wait(str(error))
        if not self.state and not self._stop.is_set():
            self._tell(f"{self.source.name} has ended")
        self.ended.set()

    def _wait(self, reason: str) -> None:
        if not self.state:
            self._tell(f"{reason}; waiting for it to come back")
        self._stop.wait(RECONNECT_S)
        self._shots = iter(self.source.shots())

    def _tell(self, state: str) -> None:
        self.state = state
        self._say(state or f"{self.source.name} is back")
