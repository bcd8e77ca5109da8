"""The `nstopt` command: arguments → spec → one call, one command a module. Only they and `nstopt.__main__`, which
runs them, print or exit.

Rooms are imported inside the commands, so that `nstopt --help` answers at once and `nstopt stylize` loads neither
torch nor onnx.
"""

from __future__ import annotations

from typing import Annotated

import typer

from nstopt.cli.commands.ablate import ablate_command
from nstopt.cli.commands.bench import bench_command
from nstopt.cli.commands.build import build_command
from nstopt.cli.commands.compare import compare_command
from nstopt.cli.commands.distill import distill_command
from nstopt.cli.commands.doctor import doctor_command
from nstopt.cli.commands.export import export_command
from nstopt.cli.commands.gatys import gatys_command
from nstopt.cli.commands.inspect import inspect_command
from nstopt.cli.commands.package import package_command
from nstopt.cli.commands.plan import plan_command
from nstopt.cli.commands.report import report_command
from nstopt.cli.commands.stylize import stylize_command
from nstopt.cli.commands.train import app as train_app

app = typer.Typer(
    help="Make a style-transfer net run in real time: export, build an engine, bench it, stylize pictures. "
    "Without arguments, each command takes the newest artifact of the one before it from ./nstopt-out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(debug: Annotated[bool, typer.Option(help="Show the whole traceback of an error.")] = False) -> None:
    """`--debug` is read by `main`, before typer sees it."""


# In the order in which `--help` lists them.
app.command("export")(export_command)
app.command("build-engine")(build_command)
app.command("bench")(bench_command)
app.command("report")(report_command)
app.command("plan")(plan_command)
app.command("stylize")(stylize_command)
app.command("compare")(compare_command)
app.command("ablate")(ablate_command)
app.command("inspect")(inspect_command)
app.command("doctor")(doctor_command)
app.command("gatys")(gatys_command)
app.add_typer(train_app, name="train")
app.command("distill")(distill_command)
app.command("package")(package_command)
