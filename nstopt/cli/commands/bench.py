"""`nstopt bench`: nets or engine bundles → records and tables."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import defaults as artifacts
from nstopt.cli.console import Bar, console, errors, say, took
from nstopt.cli.options import (
    Alpha,
    Arch,
    Counts,
    InputRange,
    Mean,
    Multiple,
    OutputRange,
    Sizes,
    Std,
    Styles,
    Vgg,
    Words,
    net_options,
    parse_counts,
    parse_sizes,
    parse_words,
)

if TYPE_CHECKING:
    from nstopt.bench.session import BenchRequest
    from nstopt.runs.run_file import RunFile


# What goes with the two options that measure something else than a bench.
GO_WITH = {"startup": {"paths", "image"}, "temporal": {"paths"}}


def bench_command(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="NET|BUNDLE", help="Engine bundles, or nets to build engines of.")
    ] = None,
    res: Annotated[
        list[Sizes] | None,
        typer.Option(parser=parse_sizes, metavar="SIZES", help="Sizes, such as 256,512,1080x1920; repeatable."),
    ] = None,
    precision: Annotated[
        Words | None,
        typer.Option(parser=parse_words, metavar="LIST", help="Of a net: some of fp32,fp16,int8,int8-fp16."),
    ] = None,
    backend: Annotated[
        Words | None,
        typer.Option(parser=parse_words, metavar="LIST", help="Of a net: all, or some of openvino,onnxruntime,…"),
    ] = None,
    batch: Annotated[
        Counts | None, typer.Option(parser=parse_counts, metavar="LIST", help="Pictures a call, such as 1,4.")
    ] = None,
    calib: Annotated[Path | None, typer.Option(help="Of a net: photographs that INT8 ranges come from.")] = None,
    val: Annotated[Path | None, typer.Option(help="Of a net: photographs that engines are judged by.")] = None,
    min_psnr: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Of a net: PSNR that engines must reach against FP32; default: 40."),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs a case, after warm-up.")] = 30,
    image: Annotated[Path | None, typer.Option(help="Picture to time on; default: random noise.")] = None,
    compare: Annotated[
        Words | None,
        typer.Option(
            parser=parse_words,
            metavar="PEERS",
            help="Peers to time in turns with the engines: all, or some of "
            "torch,torch-channels-last,torch-compile,torchscript,onnxruntime,openvino (all FP32, from the raw export); "
            "nncf (INT8, where it is installed); on an NVIDIA GPU: "
            "torch-cuda,torch-cuda-fp16,torch-compile-cuda,onnxruntime-cuda,tensorrt-raw (FP16).",
        ),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The net's own file, which peers of bundles run.")] = None,
    target: Annotated[
        Words | None,
        typer.Option(parser=parse_words, metavar="GPUS", help="Add projected rows for GPUs, such as gtx-1060."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="OLD.json", help="Exit with 1 if this run is slower than that one.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, metavar="PERCENT", help="Slower than --baseline by so much is noise.")
    ] = 5.0,
    json: Annotated[Path | None, typer.Option(help="File of records; default: nstopt-out/bench-TIME.json.")] = None,
    startup: Annotated[
        bool, typer.Option("--startup", help="Time the command itself instead: start-up and memory.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Time each layer too, beside the least it could take on this device.")
    ] = False,
    temporal: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Measure how much this video flickers when stylized, instead.")
    ] = None,
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
    """Time engines: latency, FPS and memory for each size, beside peers, real time and the published figures. An
    interrupted run goes on where it was when the same command is given again."""
    _check_alone(context)
    paths = paths or [took(artifacts.newest_bundle())]
    if startup:
        _bench_startup(paths, image)
        return
    if temporal:
        _bench_temporal(paths, temporal)
        return
    from nstopt.bench.harness import BenchSpec
    from nstopt.bench.peers import named
    from nstopt.bench.session import BenchRequest
    from nstopt.runs.run_file import read_run

    old = read_run(baseline) if baseline else None
    peers = named(compare or ())
    request = BenchRequest(
        paths=paths,
        folder=artifacts.FOLDER,
        timing=BenchSpec(runs, image, interleave=bool(peers)),
        sizes=[size for sizes in res or () for size in sizes],
        precisions=precision or (),
        backends=backend or (),
        batches=batch or (),
        calib=calib,
        val=val,
        min_psnr_db=min_psnr,
        peers=peers,
        checkpoint=checkpoint,
        net_options=net_options(arch, input_range, output_range, mean, std, multiple, vgg, style, alpha),
        layers=layers,
        targets=target or (),
    )
    run = _bench(request, json)
    if old is not None:
        _check_against(old, run, tolerance / 100)


def _check_alone(context: typer.Context) -> None:
    """Refuse what would do nothing."""
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    given = {name for name, source in sources if source is not None and source.name == "COMMANDLINE"}
    for mode, allowed in GO_WITH.items():
        others = sorted(given - allowed - {mode})
        if mode in given and others:
            name = others[0].replace("_", "-")
            raise typer.BadParameter(f"--{mode} measures something else, for which --{name} does nothing: leave it out")


def _bench(request: BenchRequest, json: Path | None) -> RunFile:
    """Measure, and show what was measured: after an error or Ctrl-C too."""
    from nstopt.bench import session

    with Bar() as bar:
        planned = session.prepare(request, bar)
    for what in planned.left_out:
        errors.print(f"left out: {what}", markup=False, soft_wrap=True)
    begun = session.interrupted(json, artifacts.FOLDER, request, planned)
    output = begun[0] if begun else json or artifacts.FOLDER / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    if begun:
        say(f"going on with {output}: {len(begun[1].records)} of {len(planned.cases)} cases are measured")
    before = _written(output)
    try:
        with Bar() as bar:
            return session.bench(request, planned, output, bar.bench, begun[1] if begun else None)
    finally:
        if _written(output) != before:
            _show(output)


def _written(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def _show(output: Path) -> None:
    from nstopt.cli.render.layers import render as render_layers
    from nstopt.cli.render.run import render
    from nstopt.runs.run_file import read_run

    run = read_run(output)
    console.print(render(run))
    for measured in run.layers:
        console.print(render_layers(measured))
    say(f"wrote {output}")


def _bench_startup(paths: list[Path], image: Path | None) -> None:
    from nstopt.bench.startup import measure_startup
    from nstopt.cli.render.run import render_startup

    for path in paths:
        console.print(render_startup(measure_startup(path, image)))


def _bench_temporal(paths: list[Path], clip: Path) -> None:
    from nstopt.cli.render.bundle import flickers
    from nstopt.media.flicker import measure

    with Bar() as bar:
        rows = measure(paths, clip, bar)
    console.print(flickers(clip.name, rows))


def _check_against(old: RunFile, new: RunFile, tolerance: float) -> None:
    """Exit with 1 if a case became slower beyond the noise."""
    from nstopt.cli.render.run import render_changes
    from nstopt.report.regression import changes

    found = changes(old, new)
    console.print(render_changes(found, tolerance))
    if any(change.is_regression(tolerance) for change in found):
        raise typer.Exit(1)
