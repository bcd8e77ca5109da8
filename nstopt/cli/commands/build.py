"""`nstopt build-engine`: ONNX → engine bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import defaults as artifacts
from nstopt.cli.console import Bar, console, say, took
from nstopt.cli.options import Sizes, parse_sizes

if TYPE_CHECKING:
    from nstopt.bundle import Bundle


def build_command(
    model: Annotated[Path | None, typer.Argument(help="ONNX file that nstopt export wrote.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Multiply in INT8; needs --calib.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Multiply in FP16; with --int8: FP16 between INT8.")] = False,
    calib: Annotated[
        Path | None, typer.Option(help="Folder of photographs, or video, to find INT8 ranges from.")
    ] = None,
    val: Annotated[Path | None, typer.Option(help="Folder or video to judge by; default: part of --calib.")] = None,
    res: Annotated[
        list[Sizes] | None,
        typer.Option(
            parser=parse_sizes,
            metavar="SIZES",
            help="512, or HEIGHTxWIDTH such as 480x640; TensorRT takes several, as 360,512.",
        ),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Take pictures of any size; default: 512x512.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Pictures a call.")] = 1,
    any_batch: Annotated[bool, typer.Option("--any-batch", help="Take any number of pictures a call.")] = False,
    min_psnr: Annotated[float, typer.Option(metavar="DB", help="PSNR that it must reach against FP32.")] = 40.0,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="INT8 as TensorRT has it, int8 with a zero point of 0, on any backend.")
    ] = False,
    drift: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Also compare with FP32 frame by frame on this video.")
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the INT8 recipes tried: .png, .svg or .pdf.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Measure the forms of each layer here; take the fastest.")
    ] = False,
    workspace: Annotated[
        int | None, typer.Option(metavar="MIB", min=16, help="Limit of the memory that TensorRT's kernels work in.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build what this GPU runs slower than FP32.")] = False,
    backend: Annotated[str, typer.Option(help="openvino, onnxruntime, torchscript or tensorrt.")] = "openvino",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Bundle to write: OUT.nst.")] = None,
) -> None:
    """Build an engine bundle, and measure how far its pictures are from FP32."""
    if res and dynamic:
        raise typer.BadParameter("--res fixes the size and --dynamic keeps it free: give one of them")
    if any_batch and batch != 1:
        raise typer.BadParameter("--batch fixes the number of pictures and --any-batch keeps it free: give one of them")
    if symmetric and not int8:
        raise typer.BadParameter("--symmetric is a kind of INT8: give --int8 with it")
    if plot_file and not int8:
        raise typer.BadParameter("--plot draws the search for INT8: give --int8 with it")
    from nstopt.calib import plot
    from nstopt.pictures.size import DEFAULT_SIZE, Sizes
    from nstopt.pipeline.build import build_engine
    from nstopt.pipeline.spec import BuildSpec

    asked = tuple(dict.fromkeys(size for sizes in res or () for size in sizes))
    spec = BuildSpec(
        model=model or took(artifacts.newest_onnx()),
        folder=artifacts.FOLDER,
        output=output,
        precision="-".join(name for name, asked in (("int8", int8), ("fp16", fp16)) if asked) or "fp32",
        backend=backend,
        sizes=Sizes() if dynamic else Sizes(*asked or (DEFAULT_SIZE,)),
        workspace_mib=workspace,
        force=force,
        batch=None if any_batch else batch,
        calib=calib,
        val=val,
        tune=tune,
        min_psnr_db=min_psnr,
        symmetric=symmetric,
        drift=drift,
    )
    if plot_file:
        plot.check(plot_file)  # before the work
    with Bar() as bar:
        bundle = build_engine(spec, bar)
    if plot_file:
        plot.plot(bundle.manifest.search, min_psnr, plot_file)
        say(f"wrote {plot_file}: the recipes tried")
    _show(bundle)


def _show(bundle: Bundle) -> None:
    """What was measured, chosen and written."""
    from nstopt.cli.render.bundle import outcome, searched, tuning

    manifest = bundle.manifest
    if manifest.tuning:
        console.print(tuning(manifest.tuning))
    if manifest.search:
        console.print(searched([one for one in manifest.search if one.on_front]))
    for line in outcome(manifest):
        say(line)
    say(f"wrote {bundle.path}")
