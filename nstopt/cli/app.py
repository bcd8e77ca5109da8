"""The typer app of the command line: one line for a usage error, and numbers that every library takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand

from nstopt.cli.console import say_error

USAGE = 2
# Typer gives no public name to the base of its usage errors.
UsageError: Any = typer.BadParameter.__bases__[0]
# Typer's ranges take NaN, and options without a range take integers of any length.
LARGEST = 2**53
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
    """A command whose numbers are finite and at most LARGEST."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises typer.BadParameter for a number out of range."""
        parameter: Any
        for parameter in self.params:
            for number in _numbers(ctx.params.get(parameter.name)):
                if not abs(number) <= LARGEST:
                    raise typer.BadParameter(f"{number} is out of range", ctx=ctx, param=parameter)
        return super().invoke(ctx)


def _numbers(value: object) -> Iterator[int | float]:
    """Return the numbers in the value of an option."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _numbers(one)


def _usage(error: Any) -> str:
    """Return what is wrong with a command line, and where its help is."""
    wrong = error.format_message().replace(WRAPPER, "").rstrip(".")
    return f"{wrong}; for help: {error.ctx.command_path} --help" if error.ctx else wrong
