"""How the pipeline tells that time passes, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Wraps a loop (`track`) or announces a step of unknown length (`step`)."""

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        """Yield the items, showing how many of `total` are done."""
        ...

    def step(self, description: str) -> None:
        """Say what is being done from now on."""
        ...


class Silent:
    """Shows nothing."""

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        yield from items

    def step(self, description: str) -> None:
        return
