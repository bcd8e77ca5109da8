"""`nstopt optimize`: checkpoint → the fastest engine on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.commands.build import keep_fastest
from nstopt.cli.console import Bar, say
from nstopt.cli.options.engine import OneSize, PictureOptions
from nstopt.cli.options.group import expand_groups
from nstopt.cli.options.net import NetOptions
from nstopt.pictures.size import DEFAULT_SIZE, Sizes


@expand_groups
def optimize_command(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="Net, as nstopt export takes it, or its ONNX file; default: a bundled sample."),
    ] = None,
    *,
    res: OneSize = None,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Pictures a call.")] = 1,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Bundle to write, a folder; default: nstopt-out/NAME.nst.")
    ] = None,
    min_psnr: Annotated[
        float, typer.Option(metavar="DB", help="Mean PSNR in dB that the engine must reach against FP32.")
    ] = 40.0,
    pictures: PictureOptions,
    net: NetOptions,
) -> None:
    """Export a net and build the fastest engine that this machine runs: every backend in every precision is timed, and
    the fastest that is close enough to FP32 is kept."""
    from nstopt.pipeline.ensure import export
    from nstopt.pipeline.spec import BuildSpec
    from nstopt.samples import SAMPLE

    with Bar() as bar:
        model = export(checkpoint or SAMPLE, artifacts.FOLDER, net.arguments(), progress=bar)
    say(f"exported {model}")
    keep_fastest(
        BuildSpec(
            model=model,
            folder=artifacts.FOLDER,
            output=output,
            sizes=Sizes(res or DEFAULT_SIZE),
            batch=batch,
            calib=pictures.calib,
            val=pictures.val,
            min_psnr_db=min_psnr,
        )
    )
