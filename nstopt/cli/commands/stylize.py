"""`nstopt stylize`: engine bundle + pictures → stylized pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import defaults as artifacts
from nstopt.cli.console import Bar, say, took
from nstopt.errors import MediaError


def stylize_command(
    bundle: Annotated[Path | None, typer.Argument(help="Engine bundle.")] = None,
    picture: Annotated[Path | None, typer.Argument(help="Picture, or folder of pictures.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Picture or folder to write.")] = None,
    keep_alpha: Annotated[bool, typer.Option("--keep-alpha", help="Keep transparency; default: over white.")] = False,
    before_after: Annotated[Path | None, typer.Option(help="Also write both pictures side by side.")] = None,
) -> None:
    """Stylize a picture, or all pictures of a folder. The result has the picture's own size."""
    from nstopt import engines
    from nstopt.media.stylize import before_after as side_by_side
    from nstopt.media.stylize import list_jobs
    from nstopt.media.stylize import run as stylize_all
    from nstopt.pictures import files as pictures

    path = bundle or took(artifacts.newest_bundle())
    source = picture or took(pictures.demo_photograph("astronaut"))
    default = artifacts.FOLDER / (f"{source.name}-stylized" if source.is_dir() else f"{source.stem}-stylized.png")
    jobs = list_jobs(source, output or default, keep_alpha)
    with engines.load(path) as engine, Bar() as bar:
        done = list(bar.track(stylize_all(engine, jobs, keep_alpha), len(jobs), "stylizing"))
    for one in done:
        if one.error is None:
            scaled = (
                ""
                if one.ran_at == one.size
                else f", the net ran at {one.ran_at} (its engine takes {engine.shape.sizes})"
            )
            say(f"wrote {one.job.target}: {one.size}{scaled}")
    failed = [one.error for one in done if one.error is not None]
    if failed and len(done) > 1:
        for error in failed:
            say(f"left out: {error}")
        others = "; the others were written" if len(failed) < len(done) else ""
        raise MediaError(f"{len(failed)} of {len(done)} pictures could not be stylized{others}")
    if failed:
        raise failed[0]
    if before_after:
        both = (pictures.read_picture(path).rgb for path in (jobs[0].source, jobs[0].target))
        pictures.write_picture(before_after, side_by_side(*both))
        say(f"wrote {before_after}: before and after")
