"""What is timed: something that a process of its own can open and then call on pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from nstopt.pictures.files import Picture

Stylize = Callable[[Picture, Picture], object]
"""Reads uint8 RGB [N, H, W, 3] and writes an array of the same shape. What it returns is not looked at."""


class Copies(Protocol):
    """Milliseconds that one run took to copy pictures to the device and back."""

    @property
    def upload_ms(self) -> float: ...

    @property
    def download_ms(self) -> float: ...


@runtime_checkable
class TellsCopies(Protocol):
    """What an engine with memory of its own can be asked besides."""

    def split(self, images: Picture, runs: int) -> Sequence[Copies]:
        """Time the parts of `runs` runs. Raises DeviceError."""
        ...


@runtime_checkable
class Warns(Protocol):
    """What an engine of ours can be asked besides."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes it slower than it could be."""
        ...


class Subject(Protocol):
    """Sent to the process that times it, so it must be picklable and cheap to import."""

    def open(self) -> Stylize:
        """Load whatever it takes to run. Raises NstoptError."""
        ...


@dataclass(frozen=True)
class BundleSubject:
    """One of our engines."""

    path: Path

    def open(self) -> Stylize:
        from nstopt import engines

        return engines.load(self.path)
