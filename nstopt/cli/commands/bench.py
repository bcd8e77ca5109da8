"""`nstopt bench`: nets or engine bundles → records and tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, console, say, took, warn
from nstopt.cli.options.engine import EngineOptions, PeerOptions, PictureOptions
from nstopt.cli.options.group import expand_groups, given_on_command_line
from nstopt.cli.options.net import NetOptions
from nstopt.cli.options.values import StrengthList, flat, parse_strengths

if TYPE_CHECKING:
    from nstopt.bench.session import BenchRequest
    from nstopt.runs.run_file import RunFile

# The options that go with each of the options that measure something else.
GO_WITH = {
    "startup": {"paths", "image"},
    "temporal": {"paths", "stabilize"},
    "video": {"paths"},
    "live": {"paths", "minutes", "checkpoint", "target"},
}


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
    startup: Annotated[
        bool, typer.Option("--startup", help="Instead, measure the start-up time and memory of the command itself.")
    ] = False,
    temporal: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Instead, measure how much this video flickers when stylized.")
    ] = None,
    stabilize: Annotated[
        StrengthList | None,
        typer.Option(
            parser=parse_strengths, metavar="LIST", help="With --temporal: strengths of --stabilize, such as 0,0.5,1."
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(metavar="CLIP", help="Instead, time this video: decoding, net, encoding, all at once."),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Instead, measure nstopt live beside a loop that does one step at a time."),
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="With --live: load it for so long, with three times too many frames.")
    ] = None,
    engines: EngineOptions,
    pictures: PictureOptions,
    peers: PeerOptions,
    net: NetOptions,
) -> None:
    """Time engines: latency, FPS and memory for each size, beside peers, real time and the published figures. An
    interrupted run resumes when the same command is given again."""
    _check_alone(context)
    paths = paths or [took(artifacts.newest_bundle())]
    if startup:
        _bench_startup(paths, image)
        return
    if video:
        _bench_video(paths, video)
        return
    if temporal:
        _bench_temporal(paths, temporal, stabilize or ())
        return
    if live and minutes:
        _bench_load(paths, minutes)
        return
    if live:
        _bench_live(paths, peers)
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


def _check_alone(context: typer.Context) -> None:
    """Raise typer.BadParameter for an option that would have no effect."""
    given = given_on_command_line(context)
    if "minutes" in given and "live" not in given:
        raise typer.BadParameter("--minutes goes with --live")
    if "stabilize" in given and "temporal" not in given:
        raise typer.BadParameter("--stabilize goes with --temporal CLIP: name the video to stabilize")
    for mode, allowed in GO_WITH.items():
        others = sorted(given - allowed - {mode})
        if mode in given and others:
            name = others[0].replace("_", "-")
            raise typer.BadParameter(f"--{mode} measures something else, for which --{name} does nothing: leave it out")


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


def _bench_startup(paths: list[Path], image: Path | None) -> None:
    from nstopt.bench.startup import measure_startup
    from nstopt.cli.render.limits import startup_report

    for path in paths:
        console.print(startup_report(measure_startup(path, image)))


def _bench_live(paths: list[Path], peers: PeerOptions) -> None:
    from nstopt.bench.live import as_reported, measure_live, project_live
    from nstopt.cli.render.live import live_table
    from nstopt.engines import load
    from nstopt.pipeline.ensure import export

    if peers.target and not peers.checkpoint:
        raise typer.BadParameter("--target projects a net: name its file with --checkpoint")
    for path in paths:
        with load(path) as engine, Bar() as bar:
            bar.step(f"running {engine.name} live")
            rows = [as_reported(), *measure_live(engine)]
            size = engine.shape.sizes.first
        for target in peers.target or ():
            assert peers.checkpoint
            model = export(peers.checkpoint, artifacts.FOLDER, {})
            rows += project_live(peers.checkpoint.stem, model, size, target)
        console.print(live_table(path.stem, rows))


def _bench_load(paths: list[Path], minutes: float) -> None:
    from nstopt.bench.live_load import run_load
    from nstopt.cli.render.live import load_table

    for path in paths:
        with Bar() as bar:
            bar.step(f"loading {path.stem} for {minutes:g} minutes")
            report = run_load(path, minutes * 60)
        console.print(load_table(path.stem, report))
        if not report.is_flat:
            raise typer.Exit(1)


def _bench_video(paths: list[Path], clip: Path) -> None:
    from nstopt.bench.video import time_video
    from nstopt.cli.render.video import video_table

    with Bar() as bar:
        found = time_video(paths, clip, bar)
    console.print(video_table(clip.name, found))


def _bench_temporal(paths: list[Path], clip: Path, strengths: Sequence[float]) -> None:
    from nstopt.cli.render.quality import flicker_table, stabilized_table

    with Bar() as bar:
        if strengths:
            from nstopt.media.stabilized_flicker import measure_stabilized

            shown = stabilized_table(clip.name, measure_stabilized(paths, clip, strengths, bar))
        else:
            from nstopt.media.flicker import measure

            shown = flicker_table(clip.name, measure(paths, clip, bar))
    console.print(shown)


def _check_against(old: RunFile, new: RunFile, tolerance: float) -> None:
    """Exit with 1 if a case became slower beyond the noise."""
    from nstopt.cli.render.limits import baseline_table
    from nstopt.report.regression import changes

    found = changes(old, new)
    console.print(baseline_table(found, tolerance))
    if any(change.is_regression(tolerance) for change in found):
        raise typer.Exit(1)
