"""`nstopt report`: run files → a page, tables and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli.console import say


def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN.json", help="Files that nstopt bench wrote.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="HTML page to write; default: beside the first run.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Photograph to show FP32 and INT8 on.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Table to write: a row a case.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Table to write for a README.")] = None,
    png: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder to write every chart to.")] = None,
) -> None:
    """Make one self-contained page of a bench: charts, pictures, tables, and what casts doubt on them."""
    from nstopt.files import write_atomically
    from nstopt.report import charts, page, tables
    from nstopt.runs.run_file import read_run

    read = [read_run(path) for path in runs]
    target = output or runs[0].with_suffix(".html")
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
