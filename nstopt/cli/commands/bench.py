"""`nstopt bench`: nets or engine bundles → records and tables."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.commands.bench_instead import measure_instead
from nstopt.cli.console import Bar, console, say, took, warn
from nstopt.cli.options.engine import EngineOptions, PeerOptions, PictureOptions
from nstopt.cli.options.group import expand_groups, given_on_command_line
from nstopt.cli.options.instead import InsteadOptions
from nstopt.cli.options.net import NetOptions
from nstopt.cli.options.values import flat

if TYPE_CHECKING:
    from nstopt.bench.session import BenchRequest
    from nstopt.runs.run_file import RunFile


@expand_groups
def bench_command(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="NET|BUNDLE", help="Engine bundles, or nets to build engines of.")
    ] = None,
    *,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="Timed runs a case, after the warm-up.")] = 30,
    image: Annotated[Path | None, typer.Option(help="Picture to time on; default: random noise.")] = None,
    json: Annotated[Path | None, typer.Option(help="Run file to write; default: nstopt-out/bench-TIME.json.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Time each layer too, and compare it with the device's limits.")
    ] = False,
    instead: InsteadOptions,
    engines: EngineOptions,
    pictures: PictureOptions,
    peers: PeerOptions,
    net: NetOptions,
) -> None:
    """Time engines: latency, FPS and memory for each size, beside peers, real time and the published figures. An
    interrupted run resumes when the same command is given again."""
    instead.check_alone(given_on_command_line(context))
    paths = paths or [took(artifacts.newest_bundle())]
    if measure_instead(instead, paths, image, peers):
        return
    from nstopt.bench.harness import BenchSpec
    from nstopt.bench.peers import named
    from nstopt.bench.session import BenchRequest
    from nstopt.runs.run_file import read_run

    old = read_run(peers.baseline) if peers.baseline else None
    names = named(peers.compare or ())
    request = BenchRequest(
        paths=paths,
        folder=artifacts.FOLDER,
        timing=BenchSpec(runs, image, interleave=bool(names)),
        sizes=flat(engines.res),
        precisions=engines.precision or (),
        backends=engines.backend or (),
        batches=engines.batch or (),
        calib=pictures.calib,
        val=pictures.val,
        min_psnr_db=engines.min_psnr,
        peers=names,
        checkpoint=peers.checkpoint,
        net_options=net.arguments(),
        layers=layers,
        targets=peers.target or (),
    )
    run = _bench(request, json)
    if old is not None:
        _check_against(old, run, peers.tolerance / 100)


def _bench(request: BenchRequest, json: Path | None) -> RunFile:
    """Measure, and show what was measured, also after an error or Ctrl-C."""
    from nstopt.bench import session

    with Bar() as bar:
        planned = session.prepare(request, bar)
    for what in planned.left_out:
        warn(f"left out: {what}")
    begun = session.interrupted(json, artifacts.FOLDER, request, planned)
    name = f"{artifacts.RUN_PREFIX}{time.strftime('%Y%m%d-%H%M%S')}.json"
    output = begun[0] if begun else json or artifacts.FOLDER / name
    if begun:
        say(f"resuming {output}: {len(begun[1].records)} of {len(planned.cases)} cases are measured")
    before = _modified(output)
    try:
        with Bar() as bar:
            return session.bench(request, planned, output, bar.bench, begun[1] if begun else None)
    finally:
        if _modified(output) != before:
            _show(output)


def _modified(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def _show(output: Path) -> None:
    from nstopt.cli.render.layers import layer_report
    from nstopt.cli.render.run import run_report
    from nstopt.runs.run_file import read_run

    run = read_run(output)
    console.print(run_report(run))
    for measured in run.layers:
        console.print(layer_report(measured))
    say(f"wrote {output}")


def _check_against(old: RunFile, new: RunFile, tolerance: float) -> None:
    """Exit with 1 if a case became slower beyond the noise."""
    from nstopt.cli.render.limits import baseline_table
    from nstopt.report.regression import changes

    found = changes(old, new)
    console.print(baseline_table(found, tolerance))
    if any(change.is_regression(tolerance) for change in found):
        raise typer.Exit(1)
