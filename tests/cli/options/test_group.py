"""Option groups become options of a command."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from nstopt.cli.options.group import OptionGroup, expand_groups
from nstopt.cli.options.net import NetOptions
from nstopt.nets import Convention


@dataclass(frozen=True)
class Place(OptionGroup):
    """A required option, and one with a default."""

    panel = "Place"

    host: Annotated[str, typer.Option(help="The host.")]
    port: Annotated[int | None, typer.Option("--at", min=1, help="The port.")] = None


def ran(*arguments: str) -> tuple[int, str, list[object]]:
    """Exit code, output, and the values that the command got."""
    got: list[object] = []
    app = typer.Typer()

    @app.command()
    @expand_groups
    def command(
        name: Annotated[str, typer.Argument()], *, place: Place, loud: Annotated[bool, typer.Option("--loud")] = False
    ) -> None:
        """Do nothing."""
        got.extend([name, place, loud])

    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output, got


def test_the_command_gets_the_group() -> None:
    assert ran("a", "--host", "b", "--at", "3", "--loud") == (0, "", ["a", Place("b", 3), True])
    assert ran("--host", "b", "a") == (0, "", ["a", Place("b", None), False])


def test_options_of_a_group_are_checked_as_all_options_are() -> None:
    assert ran("a")[0] == ran("a", "--host", "b", "--at", "0")[0] == 2


def test_the_help_has_a_panel_for_the_group() -> None:
    code, output, _ = ran("--help")
    assert code == 0
    assert all(text in output for text in ("─ Place ─", "The host.", "The port.", "Do nothing."))


def test_only_given_options_are_passed_on() -> None:
    assert Place("b").given("host", "port") == {"host": "b"}
    assert Place("b", 3).given("port") == {"port": 3}


def test_the_signature_keeps_the_order() -> None:
    @expand_groups
    def command(first: int, *, place: Place, last: Path) -> None: ...

    assert list(inspect.signature(command).parameters) == ["first", "host", "port", "last"]


def test_a_convention_has_the_defaults_of_its_class() -> None:
    arguments = NetOptions(input_range=(0, 1), mean=(0.5, 0.4, 0.3)).arguments()  # type: ignore[arg-type]
    assert arguments["convention"] == Convention((0, 1), (0.5, 0.4, 0.3), Convention.std, (0, 1))
    assert NetOptions().arguments()["convention"] is None
    with pytest.raises(typer.BadParameter, match="need --input-range"):
        NetOptions(std=(1, 1, 1)).arguments()  # type: ignore[arg-type]
