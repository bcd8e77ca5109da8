"""The interface through which long work reports its progress; the CLI shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Receiver of progress: wraps a loop (`track`) or announces a step of unknown length (`step`)."""

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        """Yield the items and show how many of `total` are done."""
        ...

    def step(self, description: str) -> None:
        """Announce the step that starts now."""
        ...


class Silent:
    """Progress that shows nothing."""

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        yield from items

    def step(self, description: str) -> None:
        return
