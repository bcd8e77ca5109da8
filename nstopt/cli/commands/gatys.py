"""`nstopt gatys`: a photograph and a style → one picture, without a net; the preview of a style."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli.commands.train import (
    ContentWeight,
    Device,
    LossNet,
    Seed,
    StyleSide,
    StyleWeight,
    VariationWeight,
    describe,
    one_of,
)
from nstopt.cli.console import Bar, say


def gatys_command(
    content: Annotated[Path, typer.Argument(help="The photograph.")],
    style: Annotated[Path, typer.Argument(help="The style picture.")],
    lossnet: LossNet,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")],
    side: Annotated[int | None, typer.Option(min=32, help="Shorter side of the result; default: the photo's.")] = None,
    style_side: StyleSide = 300,
    content_weight: ContentWeight = 1.5,
    style_weight: StyleWeight = 6.0,
    variation_weight: VariationWeight = 1e-4,
    steps: Annotated[int, typer.Option(min=1)] = 250,
    optimizer: Annotated[str, typer.Option(metavar="adam|lbfgs", callback=one_of("adam", "lbfgs"))] = "adam",
    start: Annotated[
        str, typer.Option(metavar="content|noise", callback=one_of("content", "noise"), help="What to begin with.")
    ] = "content",
    seed: Seed = 0,
    log: Annotated[Path | None, typer.Option(help="Folder for losses.csv, TensorBoard and steps in pictures.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Steps between lines, and pictures of --log.")] = 50,
    device: Device = "auto",
) -> None:
    """Optimize one picture: preview a style before training a net to it."""
    from nstopt.pictures.files import SUFFIXES, write_picture
    from nstopt.train.gatys import GatysSpec, optimize
    from nstopt.train.log import TrainingLog
    from nstopt.train.objective import StyleSpec
    from nstopt.train.process import join_processes

    if output.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{output} is no picture: write .png, .jpg or .webp", param_hint="--output")
    target = StyleSpec(style, style_side, content_weight, style_weight, variation_weight)
    spec = GatysSpec(content, target, lossnet, steps, optimizer, start, side, seed)
    with join_processes(device) as place, TrainingLog(log) as kept, Bar() as bar:
        for step in bar.track(optimize(spec, place.device), steps, "painting"):
            kept.losses(step.number, step.losses)
            if step.number % every == 0 or step.number > steps:
                say(f"step {step.number}: {describe({'total': sum(step.losses.values()), **step.losses})}")
                kept.picture(step.number, step.rgb())
    write_picture(output, step.rgb())
    say(f"wrote {output}")
