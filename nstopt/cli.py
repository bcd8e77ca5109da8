"""The `nstopt` command: arguments → spec → one call. The only module that prints or exits.

Rooms are imported inside the commands, so that `nstopt --help` answers at once and `nstopt stylize` loads neither
torch nor onnx.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from nstopt import artefacts
from nstopt.console import Bar, console, fail, say, table
from nstopt.errors import MediaError, NstoptError
from nstopt.options import (
    Alpha,
    Arch,
    InputRange,
    Mean,
    Multiple,
    OutputRange,
    Res,
    Std,
    Styles,
    Vgg,
    net_options,
)
from nstopt.size import Size

if TYPE_CHECKING:
    from nstopt.bench.record import Record

app = typer.Typer(
    help="Make a style-transfer net run in real time: export, build an engine, bench it, stylise pictures. "
    "Without arguments, each command takes the newest artefact of the one before it from ./nstopt-out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(debug: Annotated[bool, typer.Option(help="Show the whole traceback of an error.")] = False) -> None:
    """`--debug` is read by `main`, before typer sees it."""


@app.command("export")
def export_command(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="Net: .pth, .pt, .safetensors, .npz, .ts, .pt2, .onnx, folder.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="ONNX file to write.")] = None,
    torchscript: Annotated[Path | None, typer.Option(help="TorchScript file to write too.")] = None,
    res: Res = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Keep the size free (the default).")] = False,
    arch: Arch = None,
    input_range: InputRange = None,
    output_range: OutputRange = None,
    mean: Mean = None,
    std: Std = None,
    multiple: Multiple = None,
    vgg: Vgg = None,
    style: Styles = None,
    alpha: Alpha = 1.0,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what the rewrites of a build will make of the graph, and why.")
    ] = False,
    backend: Annotated[str, typer.Option(help="Whose rewrites --explain shows.")] = "openvino",
) -> None:
    """Turn a trained net into ONNX (and TorchScript) with pictures in and out, checked against the net."""
    if res and dynamic:
        raise typer.BadParameter("--res fixes the size and --dynamic keeps it free: give one of them")
    from nstopt.export.exporter import ExportSpec, export_net
    from nstopt.samples import SAMPLE

    if explain:
        from nstopt import engines

        engines.backend(backend)  # an unknown name is found out before the work
    if checkpoint is None:
        checkpoint, torchscript = SAMPLE, torchscript or artefacts.FOLDER / "sample.ts"
        output = output or artefacts.FOLDER / "sample.onnx"
        say(f"took the bundled sample ({SAMPLE.name})")
    spec = ExportSpec(
        checkpoint=checkpoint,
        onnx=output or artefacts.FOLDER / f"{checkpoint.stem}.onnx",
        torchscript=torchscript,
        size=res,
        **net_options(arch, input_range, output_range, mean, std, multiple, vgg, style, alpha),
    )
    with Bar() as bar:
        done = export_net(spec, bar)
    for note in done.notes:
        say(f"note: {note}")
    widths = "/".join(map(str, done.net.widths))
    say(f"{done.net.family} {widths}, {done.net.blocks} blocks" if widths else done.net.family)
    say(f"wrote {done.onnx}: opset 17, {done.size or 'any size'}, within {done.max_grey_levels} grey level of the net")
    if done.torchscript:
        say(f"wrote {done.torchscript}")
    if explain:
        _explain(done.onnx, done.size, backend)


def _explain(model: Path, size: Size | None, backend: str) -> None:
    """The written file stays the raw export; a build rewrites it. Where its size is free, 512x512 is shown."""
    from nstopt.bundle import ShapeInfo
    from nstopt.export.onnx_source import read_onnx
    from nstopt.graph import explain
    from nstopt.pipeline import DEFAULT_SIZE

    shape = ShapeInfo(1, *(size or DEFAULT_SIZE))
    console.print(explain.render(explain.explain(read_onnx(model), shape, backend)))


@app.command("build-engine")
def build_command(
    model: Annotated[Path | None, typer.Argument(help="ONNX file that nstopt export wrote.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Multiply in INT8; needs --calib.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Multiply in FP16.")] = False,
    calib: Annotated[Path | None, typer.Option(help="Folder of photographs to find INT8 ranges from.")] = None,
    val: Annotated[
        Path | None, typer.Option(help="Folder of photographs to judge by; default: part of --calib.")
    ] = None,
    res: Res = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Take pictures of any size; default: 512x512.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Pictures a call.")] = 1,
    min_psnr: Annotated[float, typer.Option(metavar="DB", help="PSNR that INT8 must reach against FP32.")] = 40.0,
    tune: Annotated[
        bool, typer.Option("--tune", help="Measure the forms of each layer here; take the fastest.")
    ] = False,
    backend: Annotated[str, typer.Option(help="openvino, onnxruntime, torchscript or tensorrt.")] = "openvino",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Bundle to write: OUT.nst.")] = None,
) -> None:
    """Build an engine bundle, and measure how far its pictures are from FP32."""
    if int8 and fp16:
        raise typer.BadParameter("--int8 and --fp16 exclude each other: give one of them")
    if res and dynamic:
        raise typer.BadParameter("--res fixes the size and --dynamic keeps it free: give one of them")
    from nstopt.pipeline import DEFAULT_SIZE, BuildSpec, build_engine
    from nstopt.summary import searched, tuning

    spec = BuildSpec(
        model=model or _took(artefacts.newest_onnx()),
        folder=artefacts.FOLDER,
        output=output,
        precision="int8" if int8 else "fp16" if fp16 else "fp32",
        backend=backend,
        size=None if dynamic else res or DEFAULT_SIZE,
        batch=batch,
        calib=calib,
        val=val,
        tune=tune,
        min_psnr_db=min_psnr,
    )
    with Bar() as bar:
        bundle = build_engine(spec, bar)
    manifest = bundle.manifest
    if manifest.tuning:
        console.print(tuning(manifest.tuning))
    if set(manifest.precision.layers.values()) > {"int8"}:
        console.print(searched(manifest.search))
    if manifest.calibration:
        say(f"calibrated on {manifest.calibration.pictures} pictures of {manifest.calibration.source}")
    precision = manifest.precision
    if precision.computes != precision.asked:
        say(f"note: the graph is {precision.asked}, which this device computes in {precision.computes}")
    if quality := manifest.quality:
        say(
            f"against FP32 on {quality.pictures} other pictures of {quality.source}: "
            f"PSNR {quality.psnr_db_mean:.1f} dB mean, {quality.psnr_db_worst:.1f} worst; "
            f"SSIM {quality.ssim_mean:.4f} mean, {quality.ssim_worst:.4f} worst"
        )
    say(f"wrote {bundle.path}")


@app.command("bench")
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

    paths = bundles or [_took(artefacts.newest_bundle())]
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


@app.command("stylize")
def stylize_command(
    bundle: Annotated[Path | None, typer.Argument(help="Engine bundle.")] = None,
    picture: Annotated[Path | None, typer.Argument(help="Picture, or folder of pictures.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Picture or folder to write.")] = None,
    keep_alpha: Annotated[bool, typer.Option("--keep-alpha", help="Keep transparency; default: over white.")] = False,
    before_after: Annotated[Path | None, typer.Option(help="Also write both pictures side by side.")] = None,
) -> None:
    """Stylise a picture, or all pictures of a folder. The result has the picture's own size."""
    from nstopt import engines, pictures
    from nstopt.media.stylize import before_after as side_by_side
    from nstopt.media.stylize import plan
    from nstopt.media.stylize import run as stylize_all

    path = bundle or _took(artefacts.newest_bundle())
    source = picture or _took(pictures.demo_photograph("astronaut"))
    default = artefacts.FOLDER / (f"{source.name}-stylized" if source.is_dir() else f"{source.stem}-stylized.png")
    jobs = plan(source, output or default, keep_alpha)
    with engines.load(path) as engine, Bar() as bar:
        done = list(bar.track(stylize_all(engine, jobs, keep_alpha), len(jobs), "stylising"))
    for one in done:
        if one.error is None:
            scaled = (
                "" if one.ran_at == one.size else f", the net ran at {one.ran_at} (its engine takes {engine.spec.size})"
            )
            say(f"wrote {one.job.target}: {one.size}{scaled}")
    failed = [one.error for one in done if one.error is not None]
    if failed and len(done) > 1:
        for error in failed:
            say(f"left out: {error}")
        others = "; the others were written" if len(failed) < len(done) else ""
        raise MediaError(f"{len(failed)} of {len(done)} pictures could not be stylised{others}")
    if failed:
        raise failed[0]
    if before_after:
        both = (pictures.read_picture(path).rgb for path in (jobs[0].source, jobs[0].target))
        pictures.write_picture(before_after, side_by_side(*both))
        say(f"wrote {before_after}: before and after")


@app.command("compare")
def compare_command(
    left: Annotated[Path, typer.Argument(help="Engine bundle, such as FP32.")],
    right: Annotated[Path, typer.Argument(help="Another one of the same size, such as INT8.")],
    images: Annotated[Path, typer.Option(help="Folder of pictures.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where the worst picture goes: left, right, difference.")
    ] = None,
) -> None:
    """Compare two engines picture by picture, the worst first, and show where they differ most."""
    from nstopt import engines, pictures
    from nstopt.media.compare import compare, side_by_side, stylised, worst_first
    from nstopt.summary import compared

    paths = pictures.list_pictures(images)
    if not paths:
        raise MediaError(f"{images}: no pictures in this folder")
    with engines.load(left) as one, engines.load(right) as other:
        with Bar() as bar:
            found = worst_first(bar.track(compare(one, other, paths), len(paths), "comparing"))
        worst = side_by_side(*stylised(one, other, found[0].picture))
    console.print(compared(found))
    target = output or artefacts.FOLDER / "compare.png"
    pictures.write_picture(target, worst)
    say(f"wrote {target}: {found[0].picture.name} of {left.name}, of {right.name}, and their difference, amplified")


@app.command("inspect")
def inspect_command(
    bundle: Annotated[Path | None, typer.Argument(help="Engine bundle.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as it is.")] = False,
) -> None:
    """Check a bundle's hashes and show what it is, how it was made and how good it is."""
    from nstopt.bundle import MANIFEST, open_bundle
    from nstopt.summary import rows

    path = bundle or (artefacts.newest_bundle() if json else _took(artefacts.newest_bundle()))
    opened = open_bundle(path)
    if json:
        print((opened.path / MANIFEST).read_text(), end="")
    else:
        console.print(table(rows(opened)))


def _took(path: Path) -> Path:
    say(f"took {path}")
    return path


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


def main() -> NoReturn:
    """Run the command. Exit code 0, 1 after an error (one line on stderr), 2 after a usage error, 130 after Ctrl-C."""
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(prog_name="nstopt")
    except NstoptError as error:
        if debug:
            raise
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        fail(f"unexpected {type(error).__name__}: {error} (a bug in nstopt: run again with --debug and report it)")
    sys.exit(0)
