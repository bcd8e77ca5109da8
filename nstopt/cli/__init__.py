"""The `nstopt` command: arguments → spec → one call. Each command is one module. Only they and `nstopt.__main__`, which
runs them, print or exit.

Commands import the other rooms inside their functions, so that `nstopt --help` answers at once and `nstopt stylize`
loads neither torch nor onnx.
"""

from __future__ import annotations

from typing import Annotated

import typer

from nstopt import __version__
from nstopt.cli.app import App
from nstopt.cli.commands.ablate import ablate_command
from nstopt.cli.commands.bench import bench_command
from nstopt.cli.commands.build import build_command
from nstopt.cli.commands.compare import compare_command
from nstopt.cli.commands.distill import distill_command
from nstopt.cli.commands.doctor import doctor_command
from nstopt.cli.commands.export import export_command
from nstopt.cli.commands.gatys import gatys_command
from nstopt.cli.commands.inspect import inspect_command
from nstopt.cli.commands.live import live_command
from nstopt.cli.commands.optimize import optimize_command
from nstopt.cli.commands.package import package_command
from nstopt.cli.commands.plan import plan_command
from nstopt.cli.commands.report import report_command
from nstopt.cli.commands.stylize import stylize_command
from nstopt.cli.commands.train import app as train_app
from nstopt.cli.console import help_without_command

DEPLOY, MEASURE, TRAIN = "Deploy", "Measure", "Train"
app = App(
    help="Make a style-transfer net run in real time: export it, build an engine, measure it, stylize pictures. "
    "Without arguments, each command takes the newest artifact of the one before it from ./nstopt-out.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"nstopt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Print the help if no command is given. `main` reads `--debug` before typer sees it."""
    help_without_command(context)


# In each panel, commands are listed in this order.
app.command("optimize", rich_help_panel=DEPLOY)(optimize_command)
app.command("export", rich_help_panel=DEPLOY)(export_command)
app.command("build-engine", rich_help_panel=DEPLOY)(build_command)
app.command("stylize", rich_help_panel=DEPLOY)(stylize_command)
app.command("live", rich_help_panel=DEPLOY)(live_command)
app.command("inspect", rich_help_panel=DEPLOY)(inspect_command)
app.command("compare", rich_help_panel=DEPLOY)(compare_command)
app.command("package", rich_help_panel=DEPLOY)(package_command)
app.command("bench", rich_help_panel=MEASURE)(bench_command)
app.command("report", rich_help_panel=MEASURE)(report_command)
app.command("plan", rich_help_panel=MEASURE)(plan_command)
app.command("doctor", rich_help_panel=MEASURE)(doctor_command)
app.command("ablate", rich_help_panel=MEASURE)(ablate_command)
app.add_typer(train_app, name="train", rich_help_panel=TRAIN)
app.command("distill", rich_help_panel=TRAIN)(distill_command)
app.command("gatys", rich_help_panel=TRAIN)(gatys_command)
