"""The terminal: lines, progress bars, tables. Only the commands use it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from nstopt.bench.harness import BenchProgress

T = TypeVar("T")
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Print a line as it is, unwrapped: paths in it can be copied."""
    console.print(line, markup=False, soft_wrap=True)


def took(path: Path) -> Path:
    """Say which file a command takes where none was named."""
    say(f"took {path}")
    return path


def fail(message: str) -> NoReturn:
    """Print an error's one line and exit with code 1."""
    errors.print("[bold red]error:[/] ", end="")
    errors.print(" ".join(message.split()), markup=False, soft_wrap=True)
    sys.exit(1)


def table(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values in two columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


class Bar:
    """A progress bar on stderr while a `with` block runs; implements nstopt.progress.Progress."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
            speed_estimate_period=600,  # a case of a bench may take minutes
        )
        self._task = self._progress.add_task("starting", total=None)

    def track(self, items: Iterable[T], total: int, description: str) -> Iterator[T]:
        self._progress.update(self._task, description=description, completed=0, total=total)
        for item in items:
            yield item
            self._progress.advance(self._task)

    def step(self, description: str) -> None:
        self._progress.update(self._task, description=description, completed=0, total=None)

    def bench(self, state: BenchProgress) -> None:
        """Show how far a bench is."""
        self._progress.update(self._task, description=state.text, completed=state.done, total=state.total)

    def __enter__(self) -> Bar:
        if errors.is_interactive:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if errors.is_interactive:  # elsewhere, rich would print an empty line
            self._progress.stop()
