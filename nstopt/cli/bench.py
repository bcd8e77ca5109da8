"""`nstopt bench`: engine bundles → records and tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nstopt import artefacts
from nstopt.console import Bar, console, say, took
from nstopt.options import Alpha, Arch, InputRange, Mean, Multiple, OutputRange, Std, Styles, Vgg, net_options
from nstopt.size import Size

if TYPE_CHECKING:
    from nstopt.bench.record import Record


def bench_command(
    bundles: Annotated[list[Path] | None, typer.Argument(help="Engine bundles.")] = None,
    res: Annotated[
        list[Size] | None, typer.Option(parser=Size.parse, metavar="SIZE", help="Size to time; repeatable.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs a case, after warm-up.")] = 30,
    image: Annotated[Path | None, typer.Option(help="Picture to time on; default: random noise.")] = None,
    compare: Annotated[
        str,
        typer.Option(
            metavar="PEERS",
            help="Peers to time in turns with the engines: all, or some of "
            "torch,torch-channels-last,torch-compile,torchscript,onnxruntime,openvino (all FP32, from the raw export); "
            "and nncf (INT8, where it is installed).",
        ),
    ] = "",
    checkpoint: Annotated[Path | None, typer.Option(help="The net's own file, which peers run.")] = None,
    json: Annotated[Path | None, typer.Option(help="File of records; default: nstopt-out/bench-TIME.json.")] = None,
    startup: Annotated[
        bool, typer.Option("--startup", help="Time the command itself instead: start-up and memory.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Time each layer instead, beside the least it could take on this device.")
    ] = False,
    arch: Arch = None,
    input_range: InputRange = None,
    output_range: OutputRange = None,
    mean: Mean = None,
    std: Std = None,
    multiple: Multiple = None,
    vgg: Vgg = None,
    style: Styles = None,
    alpha: Alpha = 1.0,
) -> None:
    """Time engines: latency, FPS and memory for each size, beside real time and the published figures."""
    from nstopt.bench.cases import plan_cases
    from nstopt.bench.harness import BenchSpec, run
    from nstopt.bench.table import render

    paths = bundles or [took(artefacts.newest_bundle())]
    if startup:
        _bench_startup(paths, image)
        return
    if layers:
        _bench_layers(paths, res or [None], runs, image)
        return
    net = net_options(arch, input_range, output_range, mean, std, multiple, vgg, style, alpha)
    cases = plan_cases(paths, res or [], peers=_peers(compare, checkpoint, paths[0], net))
    output = json or artefacts.FOLDER / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    records: list[Record] = []
    try:
        with Bar() as bar:
            for record in run(cases, BenchSpec(runs, image, interleave=bool(compare)), output, bar.bench):
                records.append(record)
    finally:  # after an error or Ctrl-C, show what was measured before
        if records:
            console.print(render(records))
            say(f"wrote {output}")


def _bench_startup(paths: list[Path], image: Path | None) -> None:
    from nstopt.bench.startup import measure_startup
    from nstopt.bench.table import render_startup

    for path in paths:
        console.print(render_startup(measure_startup(path, image)))


def _bench_layers(paths: list[Path], sizes: Sequence[Size | None], runs: int, image: Path | None) -> None:
    from nstopt.bench import layers

    for path in paths:
        for size in sizes:
            with Bar() as bar:
                bar.step(f"timing the layers of {path.name}")
                measured = layers.measure_layers(path, size, runs, image)
            console.print(layers.render(measured))


def _peers(compare: str, checkpoint: Path | None, bundle: Path, net: dict[str, Any]) -> list[Any]:
    """Peers run the net's own file; only that of the bundled sample is known without being named."""
    if not compare:
        return []
    from nstopt.bench.peers import Peer, named
    from nstopt.bundle import open_bundle
    from nstopt.files import sha256_file
    from nstopt.samples import SAMPLE

    if checkpoint is None:
        if open_bundle(bundle).manifest.net.source_sha256 != sha256_file(SAMPLE):
            raise typer.BadParameter("--compare runs the net's own file: name it with --checkpoint")
        checkpoint = SAMPLE
    return [Peer(name, checkpoint, net) for name in named(compare)]
