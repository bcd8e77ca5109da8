"""The process that times one case: it opens a subject and runs it as often as it is asked to.

`process.py` starts it as `python -m nstopt.bench.worker FD`, where FD is its end of a pipe. It first receives
(subject, pictures) and answers None when the subject is open. After that it receives and answers:

    a number of runs    milliseconds of each run
    COPIES              medians of upload and download in milliseconds, None if nothing is copied
    WARNINGS            what costs the subject speed

An NstoptError is sent as the answer and ends the process, as does any other error. The process also ends when the pipe
is closed.
"""

from __future__ import annotations

import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from nstopt.bench.subject import Stylize, TellsCopies, Warns
from nstopt.errors import NstoptError

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture

COPIES = "copies"
WARNINGS = "warnings"
COPIES_RUNS = 10


def serve(pipe: Connection[Any, Any]) -> None:
    """Answer until the other end closes the pipe."""
    try:
        subject, pictures = pipe.recv()
        stylize = subject.open()
        pipe.send(None)
        while True:
            asked = pipe.recv()
            pipe.send(_answer(stylize, pictures, asked))
    except NstoptError as error:
        pipe.send(error)
    except EOFError:
        return


def _answer(stylize: Stylize, pictures: Picture, asked: int | str) -> object:
    if asked == COPIES:
        return _copies_ms(stylize, pictures)
    if asked == WARNINGS:
        return stylize.warnings if isinstance(stylize, Warns) else ()
    return _time_ms(stylize, pictures, int(asked))


def _copies_ms(stylize: Stylize, pictures: Picture) -> tuple[float, float] | None:
    if not isinstance(stylize, TellsCopies):
        return None
    parts = stylize.split(pictures, COPIES_RUNS)
    return statistics.median(p.upload_ms for p in parts), statistics.median(p.download_ms for p in parts)


def _time_ms(stylize: Stylize, pictures: Picture, runs: int) -> list[float]:
    out = np.empty_like(pictures)
    samples_ms = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        stylize(pictures, out)
        samples_ms.append((time.perf_counter_ns() - start) / 1e6)
    return samples_ms


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
