"""The worker's end of the pipe."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any, NamedTuple

import numpy as np
import pytest

from nstopt.bench.worker import COPIES, WARNINGS, serve
from nstopt.pictures.files import Picture


class Part(NamedTuple):
    upload_ms: float
    download_ms: float


class Inverter:
    """A subject that inverts pictures and copies nothing."""

    def open(self) -> Any:
        return lambda pictures, out: np.subtract(255, pictures, out=out)


class Copying:
    """A subject with device memory of its own, which times its copies and reports what costs it speed."""

    warnings = ("no CUDA graph: refused",)

    def open(self) -> Copying:
        return self

    def __call__(self, pictures: Picture, out: Picture) -> None:
        out[:] = pictures

    def split(self, pictures: Picture, runs: int) -> list[Part]:
        return [Part(1.0 + run, 2.0) for run in range(runs)]


@pytest.mark.parametrize(
    ("subject", "copies", "warnings"),
    [(Inverter(), None, ()), (Copying(), (5.5, 2.0), ("no CUDA graph: refused",))],
)
def test_a_worker_times_runs_and_reports_copies_and_warnings(subject: object, copies: object, warnings: object) -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = threading.Thread(target=serve, args=(theirs,))
    worker.start()
    ours.send((subject, np.zeros((1, 16, 16, 3), np.uint8)))
    assert ours.recv() is None
    ours.send(4)
    assert len(ours.recv()) == 4
    ours.send(COPIES)
    assert ours.recv() == copies
    ours.send(WARNINGS)
    assert ours.recv() == warnings
    ours.close()
    worker.join(5)
    assert not worker.is_alive()
