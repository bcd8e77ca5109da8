"""`nstopt inspect`: the contents of an engine bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import console, took


def inspect_command(
    bundle: Annotated[Path | None, typer.Argument(help="Engine bundle.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as it is.")] = False,
) -> None:
    """Check a bundle's hashes and show its net, input, quality and files, and how it was built."""
    from nstopt.bundle import MANIFEST, open_bundle
    from nstopt.cli.render.bundle import bundle_rows
    from nstopt.cli.render.table import pairs

    path = bundle or (artifacts.newest_bundle() if json else took(artifacts.newest_bundle()))
    opened = open_bundle(path)
    if json:
        print((opened.path / MANIFEST).read_text(), end="")
    else:
        console.print(pairs(bundle_rows(opened)))
