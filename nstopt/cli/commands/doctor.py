"""`nstopt doctor`: what the GPU of this machine, or a named GPU, can run."""

from __future__ import annotations

from typing import Annotated

import typer

from nstopt.cli.console import console, say
from nstopt.cli.render.table import pairs, table

MARKS = {True: "ok ", False: "no ", None: "   "}


def doctor_command(
    target: Annotated[
        str | None,
        typer.Option(
            metavar="GPU", help="Name of a GPU, present or not, such as gtx-1060, rtx-4060 or jetson-orin-nano."
        ),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Build and run a small graph of each kind on this GPU (minutes); builds then avoid forms that fail.",
        ),
    ] = False,
) -> None:
    """Show which TensorRT, CUDA and torch run on a GPU, what is installed, and how to install the rest."""
    if smoke and target:
        raise typer.BadParameter("--smoke runs on the GPU of this machine: leave --target out")
    from nstopt.gpu.doctor import PIP_GPU, PIP_PASCAL, examine

    reports = examine(target)
    if not reports:
        say("no NVIDIA GPU: nstopt runs on the CPU here, through OpenVINO; nothing needs to be installed for that")
        say(f"for a machine with one: {PIP_GPU}, or on Pascal (GTX 10xx): {PIP_PASCAL}")
        say("for what a certain GPU can run: nstopt doctor --target gtx-1060")
    for report in reports:
        say(report.title)
        console.print(pairs((f"{MARKS[line.fits]}{line.what}", line.finding) for line in report.lines))
        if report.command:
            say(f"install with: {report.command}")
    if smoke:
        _smoke()


def _smoke() -> None:
    """Run the smoke test and print each outcome. Raises DeviceError without a GPU."""
    from nstopt.engines.tensorrt import BACKEND
    from nstopt.engines.tensorrt.smoke import consequence, run_smoke_test

    shown = table("", "trial", "kernels that multiply", "finding", title="Smoke test")
    outcomes = []
    for one in run_smoke_test(BACKEND):
        say(f"{one.trial.name}: {one.failure or 'passed'}")
        shown.add_row("no" if one.failure else "ok", one.trial.name, "\n".join(one.kernels), one.failure)
        outcomes.append(one)
    console.print(shown)
    for trial in (one.trial for one in outcomes if one.failure):
        say(f"{trial.name} fails here; {consequence(trial, outcomes)}")
