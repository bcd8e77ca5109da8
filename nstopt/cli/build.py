"""`nstopt build-engine`: ONNX → engine bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt import artefacts
from nstopt.console import Bar, console, say, took
from nstopt.options import Res


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
    any_batch: Annotated[bool, typer.Option("--any-batch", help="Take any number of pictures a call.")] = False,
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
    if any_batch and batch != 1:
        raise typer.BadParameter("--batch fixes the number of pictures and --any-batch keeps it free: give one of them")
    from nstopt.pipeline import DEFAULT_SIZE, BuildSpec, build_engine
    from nstopt.summary import searched, tuning

    spec = BuildSpec(
        model=model or took(artefacts.newest_onnx()),
        folder=artefacts.FOLDER,
        output=output,
        precision="int8" if int8 else "fp16" if fp16 else "fp32",
        backend=backend,
        size=None if dynamic else res or DEFAULT_SIZE,
        batch=None if any_batch else batch,
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
