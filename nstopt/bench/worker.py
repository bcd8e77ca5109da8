"""The process that times one case: opens a subject, then runs it as often as it is told.

Started by `process.py` as `python -m nstopt.bench.worker FD`, where FD is its end of a pipe. It receives (subject,
picture) and answers None when the subject is open; then it receives numbers of runs and answers with as many
milliseconds. COPIES is answered with (upload, download) milliseconds, or None where nothing is copied; WARNINGS with
what makes the subject slower than it could be. An NstoptError is sent as the answer; anything worse ends the process.
It ends when the pipe is closed.
"""

from __future__ import annotations

import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from nstopt.bench.subject import Stylize, TellsCopies, Warns
from nstopt.errors import NstoptError
from nstopt.pictures.files import Picture

COPIES = "copies"
WARNINGS = "warnings"
COPIES_RUNS = 10


def serve(pipe: Connection[Any, Any]) -> None:
    """Answer until the other end closes the pipe."""
    try:
        subject, picture = pipe.recv()
        stylize = subject.open()
        pipe.send(None)
        while True:
            asked = pipe.recv()
            pipe.send(_answer(stylize, picture, asked))
    except NstoptError as error:
        pipe.send(error)
    except EOFError:
        return


def _answer(stylize: Stylize, picture: Picture, asked: int | str) -> object:
    if asked == COPIES:
        return _copies_ms(stylize, picture)
    if asked == WARNINGS:
        return stylize.warnings if isinstance(stylize, Warns) else ()
    return _time_ms(stylize, picture, int(asked))


def _copies_ms(stylize: Stylize, picture: Picture) -> tuple[float, float] | None:
    """Medians."""
    if not isinstance(stylize, TellsCopies):
        return None
    parts = stylize.split(picture, COPIES_RUNS)
    return statistics.median(p.upload_ms for p in parts), statistics.median(p.download_ms for p in parts)


def _time_ms(stylize: Stylize, picture: Picture, runs: int) -> list[float]:
    out = np.empty_like(picture)
    samples = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        stylize(picture, out)
        samples.append((time.perf_counter_ns() - start) / 1e6)
    return samples


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
