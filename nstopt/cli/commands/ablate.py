"""`nstopt ablate`: the effect of each part of INT8 on a net's quality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, console, took
from nstopt.cli.options.engine import OneSize, PictureOptions
from nstopt.cli.options.group import expand_groups
from nstopt.pictures.size import DEFAULT_SIZE, Sizes


@expand_groups
def ablate_command(
    model: Annotated[Path | None, typer.Argument(help="ONNX file that nstopt export wrote.")] = None,
    *,
    pictures: PictureOptions,
    res: OneSize = None,
    backend: Annotated[str, typer.Option(help="openvino or onnxruntime.")] = "openvino",
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="INT8 ONNX file of the same net, made by another tool, to compare with; repeatable."),
    ] = None,
) -> None:
    """Leave out the parts of INT8 one by one, and show how far the pictures then are from FP32."""
    from nstopt.cli.render.quality import ablation_table
    from nstopt.pipeline.ablate import ablate_int8
    from nstopt.pipeline.spec import BuildSpec

    spec = BuildSpec(
        model=model or took(artifacts.newest_onnx()),
        folder=artifacts.FOLDER,
        precision="int8",
        backend=backend,
        sizes=Sizes(res or DEFAULT_SIZE),
        calib=pictures.calib,
        val=pictures.val,
    )
    with Bar() as bar:
        found = ablate_int8(spec, beside or (), bar)
    console.print(ablation_table(found))
