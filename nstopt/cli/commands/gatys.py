"""`nstopt gatys`: a photograph and a style → one picture, optimized without a net."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli.console import Bar, say
from nstopt.cli.options.group import expand_groups, given
from nstopt.cli.options.training import Device, Seed, StyleOptions, one_of
from nstopt.cli.render.training import loss_line


@expand_groups
def gatys_command(
    content: Annotated[Path, typer.Argument(help="The photograph.")],
    style: Annotated[Path, typer.Argument(help="The style picture.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")],
    side: Annotated[
        int | None,
        typer.Option(min=32, max=8192, help="Shorter side of the result, in pixels; default: the photograph's."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=10_000_000, help="Number of optimization steps.")] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="adam|lbfgs", callback=one_of("adam", "lbfgs"), help="The optimizer.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="content|noise", callback=one_of("content", "noise"), help="The picture to start from."),
    ] = None,
    seed: Seed = None,
    log: Annotated[
        Path | None, typer.Option(help="Folder to write losses.csv, TensorBoard logs and pictures of steps to.")
    ] = None,
    every: Annotated[
        int, typer.Option(min=1, max=1_000_000_000, help="Steps between lines of output and pictures of --log.")
    ] = 50,
    device: Device = "auto",
    losses: StyleOptions,
) -> None:
    """Optimize one picture: preview a style before training a net to it."""
    from nstopt.pictures.files import SUFFIXES, write_picture
    from nstopt.train.gatys import GatysSpec, optimize
    from nstopt.train.log import TrainingLog
    from nstopt.train.process import join_processes

    if output.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{output} is no picture: write .png, .jpg or .webp", param_hint="--output")
    options = {"steps": steps, "optimizer": optimizer, "start": start, "side": side, "seed": seed}
    spec = GatysSpec(
        content=content,
        style=losses.spec(style),
        lossnet=losses.lossnet,
        **given(options),
    )
    with join_processes(device) as place, TrainingLog(log) as kept, Bar() as bar:
        for step in bar.track(optimize(spec, place.device), spec.steps, "optimizing"):
            kept.losses(step.number, step.losses)
            if step.number % every == 0 or step.number > spec.steps:
                say(f"step {step.number}: {loss_line({'total': sum(step.losses.values()), **step.losses})}")
                kept.picture(step.number, step.rgb())
    write_picture(output, step.rgb())
    say(f"wrote {output}")
