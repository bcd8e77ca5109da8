"""`nstopt package`: engine bundle → the files that an inference server takes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import say, took


class Format(str, Enum):
    """The formats that a bundle can be packaged in."""

    triton = "triton"


def package_command(
    bundle: Annotated[Path | None, typer.Argument(help="Engine bundle.")] = None,
    format: Annotated[Format, typer.Option("--format", help="Format to write.")] = Format.triton,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Model repository to write into, a folder; default: nstopt-out/triton."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; default: the bundle's.")] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Largest batch that the server may make of single requests, in pictures."),
    ] = None,
) -> None:
    """Make an engine bundle ready for NVIDIA Triton Inference Server."""
    from nstopt.bundle import open_bundle
    from nstopt.engines import require_as_stated
    from nstopt.package.triton import package

    path = bundle or took(artifacts.newest_bundle())
    opened = open_bundle(path)
    require_as_stated(opened)
    folder, batching = package(opened, output or artifacts.FOLDER / "triton", name, max_batch)
    say(batching)
    say(f"wrote {folder}")
