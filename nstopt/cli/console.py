"""Terminal output: lines and progress bars. Only the commands use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from nstopt.errors import one_line, printable

if TYPE_CHECKING:
    from nstopt.bench.harness import BenchProgress

T = TypeVar("T")


class PlainConsole(Console):
    """A console for names and texts of files: brackets in them are no styles, control characters are escapes."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


console = PlainConsole()
errors = PlainConsole(stderr=True)


def say(line: str) -> None:
    """Print a line. It is not wrapped, so that paths in it can be copied."""
    console.print(line, soft_wrap=True)


def warn(line: str) -> None:
    """Print a line on stderr."""
    errors.print(one_line(line), soft_wrap=True)


def took(path: Path) -> Path:
    """Print the file that a command takes because none was named, and return it."""
    say(f"took {path}")
    return path


def help_without_command(context: typer.Context) -> None:
    """Print the help of a group of commands if none of them is given: the callback of a typer app."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def say_error(message: str) -> None:
    """Print an error in one line on stderr."""
    errors.print("error:", style="bold red", end=" ")
    errors.print(one_line(message), soft_wrap=True)


class _Speed(ProgressColumn):
    """Items a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self._unit}" if task.speed else "")


class Bar:
    """A progress bar on stderr for the time of a `with` block. It implements nstopt.progress.Progress."""

    def __init__(self, unit: str | None = None) -> None:
        """With `unit`, such as FPS, the speed is shown in it."""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            *([_Speed(unit)] if unit else []),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
            speed_estimate_period=600,  # seconds; a case of a bench may take minutes
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
        """Show the progress of a bench."""
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
