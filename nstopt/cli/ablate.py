"""`nstopt ablate`: what each part of INT8 is worth for a net."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt import artefacts
from nstopt.console import Bar, console, took
from nstopt.options import Res


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
    from nstopt.build_spec import DEFAULT_SIZE, BuildSpec
    from nstopt.pipeline import ablate_int8
    from nstopt.summary import ablated

    spec = BuildSpec(
        model=model or took(artefacts.newest_onnx()),
        folder=artefacts.FOLDER,
        precision="int8",
        backend=backend,
        size=res or DEFAULT_SIZE,
        calib=calib,
        val=val,
    )
    with Bar() as bar:
        found = ablate_int8(spec, beside or (), bar)
    console.print(ablated(found))
