"""The typer app of the command line: one line for a usage error, numbers that every library takes, and no output that
is an input too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from nstopt.cli.console import say_error
from nstopt.errors import NstoptError
from nstopt.files import real_path

USAGE = 2
# Typer gives no public name to the base of its usage errors.
UsageError: Any = typer.BadParameter.__bases__[0]
# Typer's ranges take NaN, and options without a range take integers of any length.
LARGEST = 2**53
# Options that name a file to write.
OUTPUTS = frozenset({"output", "csv", "markdown", "json", "plot", "torchscript", "before_after"})
WRAPPER = "Value error, "  # what typer puts before the message of a parser


class App(typer.Typer):
    """A typer app, or a group of its commands, whose numbers are checked and whose usage errors are one line."""

    def __call__(self, *arguments: Any, **options: Any) -> None:
        """Run the command that sys.argv states. Raises what it raises, and SystemExit: with 2 after a usage error."""
        try:
            code = super().__call__(*arguments, standalone_mode=False, **options)
        except UsageError as error:
            say_error(_usage(error))
            raise SystemExit(USAGE) from error
        if code:
            raise SystemExit(code)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Add a command, as typer does."""
        return super().command(name, cls=CheckedCommand, **settings)


class CheckedCommand(TyperCommand):
    """A command whose numbers are finite and at most LARGEST, and that overwrites none of the files it reads."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises typer.BadParameter for a number out of range, NstoptError for an output that is an
        input too."""
        parameter: Any
        for parameter in self.params:
            for number in _numbers(ctx.params.get(parameter.name)):
                if not abs(number) <= LARGEST:
                    raise typer.BadParameter(f"{number} is out of range", ctx=ctx, param=parameter)
        _check_outputs(ctx.params)
        return super().invoke(ctx)


def _check_outputs(values: dict[str, object]) -> None:
    inputs = {real_path(path) for name, value in values.items() if name not in OUTPUTS for path in _paths(value)}
    for name in OUTPUTS & values.keys():
        for path in _paths(values[name]):
            if path.is_file() and real_path(path) in inputs:
                raise NstoptError(f"{path}: the result would overwrite an input; choose another output")


def _paths(value: object) -> Iterator[Path]:
    """Return the paths in the value of an option."""
    return (one for one in _single(value) if isinstance(one, Path))


def _numbers(value: object) -> Iterator[int | float]:
    """Return the numbers in the value of an option."""
    return (one for one in _single(value) if isinstance(one, int | float))


def _single(value: object) -> Iterator[object]:
    """Return a value, or each of those in a list or a tuple."""
    if isinstance(value, tuple | list):
        for one in value:
            yield from _single(one)
    else:
        yield value


def _usage(error: Any) -> str:
    """Return what is wrong with a command line, and where its help is."""
    wrong = error.format_message().replace(WRAPPER, "").rstrip(".")
    return f"{wrong}; for help: {error.ctx.command_path} --help" if error.ctx else wrong
