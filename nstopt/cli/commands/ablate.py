"""`nstopt ablate`: what each part of INT8 is worth for a net."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import defaults as artifacts
from nstopt.cli.console import Bar, console, took
from nstopt.cli.options import Res
from nstopt.pictures.size import Sizes


def ablate_command(
    model: Annotated[Path | None, typer.Argument(help="ONNX file that nstopt export wrote.")] = None,
    calib: Annotated[Path | None, typer.Option(help="Folder of photographs, or video, to find INT8 with.")] = None,
    val: Annotated[Path | None, typer.Option(help="Folder or video to judge by; default: part of --calib.")] = None,
    res: Res = None,
    backend: Annotated[str, typer.Option(help="openvino or onnxruntime.")] = "openvino",
    beside: Annotated[
        list[Path] | None, typer.Option(help="INT8 ONNX file of the same net by another tool; repeatable.")
    ] = None,
) -> None:
    """Take the parts of INT8 away one after the other, and show how far the pictures then are from FP32."""
    from nstopt.cli.render.bundle import ablated
    from nstopt.pictures.size import DEFAULT_SIZE
    from nstopt.pipeline.ablate import ablate_int8
    from nstopt.pipeline.spec import BuildSpec

    spec = BuildSpec(
        model=model or took(artifacts.newest_onnx()),
        folder=artifacts.FOLDER,
        precision="int8",
        backend=backend,
        sizes=Sizes(res or DEFAULT_SIZE),
        calib=calib,
        val=val,
    )
    with Bar() as bar:
        found = ablate_int8(spec, beside or (), bar)
    console.print(ablated(found))
