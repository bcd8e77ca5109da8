"""What libraries say on stderr: dropped, since it would surround or replace the one line that tells what is wrong.

Python code says it in warnings and logs. Native code (libtiff, libjpeg, abseil) writes to file descriptor 2, behind
Python's back.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator

STDERR = 2


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop the libraries' words for the time of the block. What is written to sys.stderr, our own lines, is shown."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), _native_stderr_dropped():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        hook, threading.excepthook = threading.excepthook, lambda _: None
        try:
            yield
        finally:
            threading.excepthook = hook
            logging.disable(before)


@contextlib.contextmanager
def _native_stderr_dropped() -> Iterator[None]:
    """Point file descriptor 2 to nowhere, and sys.stderr to where it pointed."""
    original = sys.stderr
    original.flush()
    kept = os.dup(STDERR)
    with open(kept, "w", buffering=1, errors="backslashreplace") as shown:  # noqa: PTH123 - no path, a descriptor
        if _is_descriptor_2(original):
            sys.stderr = shown
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDERR)
        os.close(nowhere)
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            sys.stderr = original


def _is_descriptor_2(stream: io.TextIOBase | object) -> bool:
    try:
        return isinstance(stream, io.TextIOBase) and stream.fileno() == STDERR
    except (OSError, ValueError):
        return False
