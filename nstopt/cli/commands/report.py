"""`nstopt report`: run files → a page, tables and charts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import say, took


def report_command(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN.json", help="Run files that nstopt bench wrote.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="HTML page to write; default: beside the first run file.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Photograph to show in FP32 and INT8.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV table to write, one row a case.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Markdown table to write, for a README.")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder to write every chart to.")] = None,
) -> None:
    """Make one self-contained page of bench runs: charts, pictures, tables, and reasons to doubt the figures."""
    from nstopt.files import write_atomically
    from nstopt.report import charts, page, tables
    from nstopt.runs.run_file import read_run

    paths = runs or [took(artifacts.newest_run())]
    read = [read_run(path) for path in paths]
    target = output or paths[0].with_suffix(".html")
    write_atomically(target, page.render(read, image).encode())
    say(f"wrote {target}")
    for path, text in ((csv, tables.to_csv), (markdown, tables.to_markdown)):
        if path is not None:
            write_atomically(path, text(read).encode())
            say(f"wrote {path}")
    if png is not None:
        for name, figure in page.figures(read).items():
            write_atomically(png / f"{name}.png", charts.png(figure))
            say(f"wrote {png / f'{name}.png'}")
