"""Logs of a running training: losses.csv, TensorBoard's event file, and sample pictures."""

from __future__ import annotations

import csv
import io
import statistics
from collections import deque
from pathlib import Path
from types import TracebackType

import numpy as np

from nstopt.errors import TrainingError
from nstopt.files import atomic_path, make_folder
from nstopt.pictures.files import Picture, write_picture

LAST = 100  # steps over which reported losses are averaged, as single steps are noisy
CSV = "losses.csv"


class TrainingLog:
    """The logs in the folder `run`.

    A resumed training continues the logs of the earlier process after `done` steps; that one's later rows are dropped.
    Without a folder nothing is written, but means are computed: of several processes, one writes. Raises TrainingError
    if TensorBoard is not installed or the folder cannot be written.
    """

    def __init__(self, run: Path | None, done: int = 0) -> None:
        self._run = run
        self._recent: deque[dict[str, float]] = deque(maxlen=LAST)
        if run is None:
            return
        try:
            make_folder(run)
            self._recent.extend(_keep(run / CSV, done))
            self._file = (run / CSV).open("a", newline="", encoding="ascii")
        except OSError as error:
            raise TrainingError(f"{run}: cannot be written ({error.strerror or error})") from error
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._board = _summary_writer(run, done)

    def losses(self, step: int, terms: dict[str, float]) -> None:
        """Log the losses of a step and their sum, `total`."""
        row = {"total": sum(terms.values()), **terms}
        self._recent.append(row)
        if self._run is None:
            return
        if self._file.tell() == 0:
            self._csv.writerow(("step", *row))
        self._csv.writerow((step, *(f"{value:.9g}" for value in row.values())))
        for name, value in row.items():
            self._board.add_scalar(f"loss/{name}", value, step)

    def picture(self, step: int, picture: Picture) -> None:
        """Log a sample picture, uint8 [H, W, 3]."""
        if self._run is None:
            return
        write_picture(self._run / "samples" / f"{step:06d}.png", picture)
        self._board.add_image("samples", np.ascontiguousarray(picture), step, dataformats="HWC")

    def flush(self) -> None:
        """Write all buffered logs to disk."""
        if self._run is not None:
            self._file.flush()
            self._board.flush()

    def last(self) -> dict[str, float]:
        """Return the mean of each loss over the last hundred steps; {} before the first step."""
        names = self._recent[-1] if self._recent else {}
        return {name: statistics.fmean(row[name] for row in self._recent) for name in names}

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            self._file.close()
            self._board.close()


def _keep(path: Path, done: int) -> list[dict[str, float]]:
    """Drop the rows of steps after `done`, which will be repeated; return the losses of the last rows kept."""
    if not path.exists():
        return []
    header, *rows = list(csv.reader(path.read_text(encoding="ascii").splitlines())) or [[]]
    kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= done]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *kept] if kept else [])
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="ascii")
    return [dict(zip(header[1:], map(float, row[1:]), strict=True)) for row in kept]


def _summary_writer(run: Path, done: int):  # type: ignore[no-untyped-def]
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError("training needs TensorBoard, which is missing: pip install 'nstopt[train]'") from error
    return SummaryWriter(str(run), purge_step=done + 1 if done else None)
