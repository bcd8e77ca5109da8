"""`nstopt stylize`: engine bundle + pictures → stylized pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, say, took
from nstopt.errors import MediaError

if TYPE_CHECKING:
    from nstopt.media.stylize import JobResult


def stylize_command(
    bundle: Annotated[Path | None, typer.Argument(help="Engine bundle; default: the newest.")] = None,
    picture: Annotated[
        Path | None, typer.Argument(help="Picture, or folder of pictures; default: a demo photograph.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Picture or folder to write; default: nstopt-out/NAME-stylized."),
    ] = None,
    keep_alpha: Annotated[bool, typer.Option("--keep-alpha", help="Keep transparency; default: over white.")] = False,
    before_after: Annotated[
        Path | None,
        typer.Option(help="Also write before and after side by side: a picture, or for a folder of pictures a folder."),
    ] = None,
) -> None:
    """Stylize a picture, or all pictures of a folder. The result has the picture's own size.

    The bundle may be left out: nstopt stylize PICTURE.
    """
    from nstopt import engines
    from nstopt.bundle import is_bundle
    from nstopt.media.jobs import list_jobs
    from nstopt.media.stylize import run
    from nstopt.pictures.files import demo_photograph

    if bundle and picture is None and not is_bundle(bundle):
        bundle, picture = None, bundle
    path = bundle or took(artifacts.newest_bundle())
    source = picture or took(demo_photograph("astronaut"))
    default = artifacts.FOLDER / (f"{source.name}-stylized" if source.is_dir() else f"{source.stem}-stylized.png")
    jobs = list_jobs(source, output or default, keep_alpha, before_after)
    with engines.load(path) as engine, Bar() as bar:
        done = list(bar.track(run(engine, jobs, keep_alpha), len(jobs), "stylizing"))
    _show(done, f"its engine takes {engine.shape.sizes}")


def _show(done: Sequence[JobResult], limit: str) -> None:
    """Print what was written. Raises the error of a single picture, or MediaError if any of several failed."""
    for one in done:
        if one.error is None:
            scaled = "" if one.ran_at == one.size else f", the net ran at {one.ran_at} ({limit})"
            say(f"wrote {one.job.target}: {one.size}{scaled}")
            if one.job.side_by_side:
                say(f"wrote {one.job.side_by_side}: before and after")
    failed = [one.error for one in done if one.error is not None]
    if failed and len(done) == 1:
        raise failed[0]
    for error in failed:
        say(f"left out: {error}")
    if failed:
        others = "; the others were written" if len(failed) < len(done) else ""
        raise MediaError(f"{len(failed)} of {len(done)} pictures could not be stylized{others}")
