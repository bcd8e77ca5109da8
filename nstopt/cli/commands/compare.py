"""`nstopt compare`: two engines, picture by picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, console, say
from nstopt.errors import MediaError
from nstopt.files import real_path


def compare_command(
    left: Annotated[Path, typer.Argument(help="Engine bundle, such as FP32.")],
    right: Annotated[Path, typer.Argument(help="Another one that takes the same size, such as INT8.")],
    images: Annotated[Path, typer.Option(help="Folder of pictures.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Picture to write: the worst case as left, right and difference; default: nstopt-out/compare.png.",
        ),
    ] = None,
) -> None:
    """Compare two engines picture by picture, the worst first, and show where they differ most."""
    from nstopt import engines
    from nstopt.cli.render.quality import comparison_table
    from nstopt.media.compare import compare, difference_panels, stylize_both, worst_first
    from nstopt.pictures.files import list_pictures, write_picture

    paths = list_pictures(images)
    if not paths:
        raise MediaError(f"{images}: no pictures in this folder")
    target = output or artifacts.FOLDER / "compare.png"
    if real_path(target) in map(real_path, paths):
        raise MediaError(f"{target}: the result would overwrite an input; choose another output")
    with engines.load(left) as one, engines.load(right) as other:
        with Bar() as bar:
            found = worst_first(bar.track(compare(one, other, paths), len(paths), "comparing"))
        worst = difference_panels(*stylize_both(one, other, found[0].picture))
    console.print(comparison_table(found))
    write_picture(target, worst)
    say(f"wrote {target}: {found[0].picture.name} of {left.name}, of {right.name}, and their difference, amplified")
