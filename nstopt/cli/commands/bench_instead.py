"""What `nstopt bench` measures instead of latency: start-up, flicker, a video, a live session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, console
from nstopt.cli.options.engine import PeerOptions
from nstopt.cli.options.instead import InsteadOptions


def measure_instead(asked: InsteadOptions, paths: list[Path], image: Path | None, peers: PeerOptions) -> bool:
    """Measure what was asked for of the engines at `paths`, and show it. Return False if nothing of it was."""
    if asked.startup:
        _startup(paths, image)
    elif asked.video:
        _video(paths, asked.video)
    elif asked.temporal:
        _temporal(paths, asked.temporal, asked.stabilize or ())
    elif asked.live and asked.minutes:
        _load(paths, asked.minutes)
    elif asked.live:
        _live(paths, peers)
    else:
        return False
    return True


def _startup(paths: list[Path], image: Path | None) -> None:
    from nstopt.bench.startup import measure_startup
    from nstopt.cli.render.limits import startup_report

    for path in paths:
        console.print(startup_report(measure_startup(path, image)))


def _live(paths: list[Path], peers: PeerOptions) -> None:
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


def _load(paths: list[Path], minutes: float) -> None:
    from nstopt.bench.live_load import run_load
    from nstopt.cli.render.live import load_table

    for path in paths:
        with Bar() as bar:
            bar.step(f"loading {path.stem} for {minutes:g} minutes")
            report = run_load(path, minutes * 60)
        console.print(load_table(path.stem, report))
        if not report.is_flat:
            raise typer.Exit(1)


def _video(paths: list[Path], clip: Path) -> None:
    from nstopt.bench.video import time_video
    from nstopt.cli.render.video import video_table

    with Bar() as bar:
        found = time_video(paths, clip, bar)
    console.print(video_table(clip.name, found))


def _temporal(paths: list[Path], clip: Path, strengths: Sequence[float]) -> None:
    from nstopt.cli.render.quality import flicker_table, stabilized_table

    with Bar() as bar:
        if strengths:
            from nstopt.media.stabilized_flicker import measure_stabilized

            shown = stabilized_table(clip.name, measure_stabilized(paths, clip, strengths, bar))
        else:
            from nstopt.media.flicker import measure

            shown = flicker_table(clip.name, measure(paths, clip, bar))
    console.print(shown)
