"""Hand the newest item from one thread to another: a slot for one reader, a broadcast for any number of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class ClosedError(Exception):
    """The slot was closed: no item will come any more."""


class Slot(Generic[T]):
    """Holds the newest item that was put and not yet taken. `dropped` counts the items that were replaced unread."""

    def __init__(self, notify: Callable[[], object] = lambda: None) -> None:
        """`notify` is called after each `put` and after `close`, on the thread that does it."""
        self._changed = threading.Condition()
        self._items: list[T] = []
        self._is_closed = False
        self._notify = notify
        self.dropped = 0

    def put(self, item: T) -> None:
        """Replace what is in the slot. Does nothing if the slot is closed."""
        with self._changed:
            if self._is_closed:
                return
            self.dropped += len(self._items)
            self._items = [item]
            self._changed.notify()
        self._notify()

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and take it out; None after `timeout_s` seconds. Raises ClosedError if the slot is closed,
        even if it holds an item."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed, timeout_s)
            if self._is_closed:
                raise ClosedError
            return self._items.pop() if self._items else None

    def close(self) -> None:
        """Wake the reader up and take no more items."""
        with self._changed:
            self._is_closed = True
            self._items.clear()
            self._changed.notify_all()
        self._notify()


class Broadcast(Generic[T]):
    """Gives each item that is published to the slots of all subscribers. `latest` is the last one, None at first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: list[Slot[T]] = []
        self._is_closed = False
        self.latest: T | None = None

    def publish(self, item: T) -> None:
        self.latest = item
        for slot in self._subscribed():
            slot.put(item)

    @contextmanager
    def subscribe(self, notify: Callable[[], object] = lambda: None) -> Iterator[Slot[T]]:
        """Yield a slot that gets every item published from now on. `notify` is that of `Slot`."""
        slot: Slot[T] = Slot(notify)
        with self._lock:
            self._slots.append(slot)
            if self._is_closed:
                slot.close()
        try:
            yield slot
        finally:
            with self._lock:
                self._slots.remove(slot)
            slot.close()

    def close(self) -> None:
        """Close the slots of all subscribers, now and later."""
        with self._lock:
            self._is_closed = True
        for slot in self._subscribed():
            slot.close()

    def _subscribed(self) -> list[Slot[T]]:
        with self._lock:
            return list(self._slots)
