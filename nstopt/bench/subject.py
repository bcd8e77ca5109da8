"""Subjects: objects that a timed process can open and then call on pictures.

A timed process imports this module, so it imports neither Pillow nor any engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture

Stylize = Callable[["Picture", "Picture"], object]
"""Reads uint8 RGB [N, H, W, 3] and writes an array of the same shape. The return value is ignored."""


class Copies(Protocol):
    """Milliseconds that one run spent on copying pictures to the device and back."""

    @property
    def upload_ms(self) -> float: ...

    @property
    def download_ms(self) -> float: ...


@runtime_checkable
class TellsCopies(Protocol):
    """An engine with device memory of its own, which can time its copies."""

    def split(self, pictures: Picture, runs: int, /) -> Sequence[Copies]:
        """Time the parts of `runs` runs on uint8 RGB [N, H, W, 3]. Raises DeviceError."""
        ...


@runtime_checkable
class Warns(Protocol):
    """An engine that reports what costs it speed."""

    @property
    def warnings(self) -> tuple[str, ...]: ...


class Subject(Protocol):
    """The thing a case times. It is sent to the timed process, so it must be picklable and cheap to import."""

    def open(self) -> Stylize:
        """Load all that is needed to run. Raises NstoptError."""
        ...


@dataclass(frozen=True)
class BundleSubject:
    """The engine of a bundle."""

    path: Path

    def open(self) -> Stylize:
        from nstopt import engines

        return engines.load(self.path)
