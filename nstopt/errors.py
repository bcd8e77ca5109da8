"""The error tree. Everything nstopt raises on purpose is one of these, and its message can be shown to a user as it is.

    NstoptError
    ├── CheckpointError    a net's file cannot be read, or is not a net that is known
    ├── TrainingError      a training diverged, or cannot go on from where it was
    ├── ExportError        a net cannot be turned into a graph, or the graph differs from the net
    ├── RewriteError       a graph rewrite broke its promise of exactness
    ├── CalibrationError   ranges cannot be found: no pictures, too few, or unusable ones
    ├── BuildError         a backend cannot build what was asked for
    ├── BundleError        an engine bundle is missing, damaged, or does not fit the request
    ├── DeviceError        the device (GPU, driver, vendor library) is missing or failed
    └── MediaError         a picture or video cannot be read or written

A message says what was being done, with which file and numbers, and what to do next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

# Longer words (names, paths, lists without spaces) and longer messages lose their middle.
MAX_WORD = 200
MAX_MESSAGE = 500
CUT = "…"


class NstoptError(Exception):
    """Base of all errors raised on purpose by nstopt."""


class CheckpointError(NstoptError):
    """A net's file cannot be read, or does not hold a net that is known."""


class TrainingError(NstoptError):
    """A training diverged, or cannot start, be saved, or go on from its checkpoint."""


class ExportError(NstoptError):
    """A net cannot be turned into a graph, or the graph computes something else than the net."""


class RewriteError(NstoptError):
    """A graph rewrite broke its promise: invalid graph, or another function than before."""


class CalibrationError(NstoptError):
    """Activation ranges cannot be found from the pictures that were given."""


class BuildError(NstoptError):
    """A backend cannot build an engine of the precision, size or device that was asked for."""


class BundleError(NstoptError):
    """An engine bundle is missing, damaged, of another format version, or does not fit the request."""


class DeviceError(NstoptError):
    """The device or its vendor library is missing, too old, or failed."""


class MediaError(NstoptError):
    """A picture or video cannot be read, is too small, or cannot be written."""


def kind_named(name: str) -> type[NstoptError] | None:
    """Return the class of that name in the tree; None if there is none."""
    return {kind.__name__: kind for kind in NstoptError.__subclasses__()}.get(name)


@contextlib.contextmanager
def translated(kind: type[NstoptError], what: str) -> Iterator[None]:
    """Raise `kind` for any error of the block that is not one of ours; the message begins with `what`.

    For blocks that hand a file from outside to a library: on a damaged one, libraries raise anything.
    """
    try:
        yield
    except NstoptError:
        raise
    except Exception as error:
        raise kind(f"{what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return "Type: message" of the exception's root cause: the first line of its message, at most 300 characters. An
    OSError gives the system's words and the file.

    Libraries wrap the exception that names the reason, and add advice and stack traces below its first line.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    name = type(error).__name__
    lines = str(error).strip().splitlines()
    return f"{name}: {lines[0].strip()[:300]}" if lines else name


def printable(text: str) -> str:
    """Return a text with its control characters, and all else that a terminal cannot show, as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def one_line(text: str) -> str:
    """Return a text as one printable line of at most MAX_MESSAGE characters, each word at most MAX_WORD."""
    words = (_cut(printable(word), MAX_WORD) for word in text.split())
    return _cut(" ".join(words), MAX_MESSAGE)


def _cut(text: str, length: int) -> str:
    """Cut the middle out of a text that is longer than `length`."""
    if len(text) <= length:
        return text
    head = (length - len(CUT)) // 2
    return text[:head] + CUT + text[len(text) - (length - len(CUT) - head) :]
