"""`nstopt doctor`: what the GPU of this machine, or a named GPU, can run."""

from __future__ import annotations

from typing import Annotated

import typer

from nstopt.cli.console import console, say
from nstopt.cli.render.table import pairs

MARKS = {True: "ok ", False: "no ", None: "   "}


def doctor_command(
    target: Annotated[
        str | None,
        typer.Option(
            metavar="GPU", help="Name of a GPU, present or not, such as gtx-1060, rtx-4060 or jetson-orin-nano."
        ),
    ] = None,
) -> None:
    """Show which TensorRT, CUDA and torch run on a GPU, what is installed, and how to install the rest."""
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
