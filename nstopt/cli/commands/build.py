"""`nstopt build-engine`: ONNX → engine bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, console, say, took
from nstopt.cli.options.engine import DeviceOptions, PictureOptions, PrecisionOptions, ShapeOptions
from nstopt.cli.options.group import expand_groups, given_on_command_line

if TYPE_CHECKING:
    from nstopt.bundle import Bundle
    from nstopt.pipeline.spec import BuildSpec

# Options of an engine that --fastest chooses by itself, or has none of.
CHOSEN_BY_FASTEST = {
    *("int8", "fp16", "bf16", "backend", "tune", "symmetric", "plot", "drift", "workspace", "force"),
    *("tf32", "strict", "verbose"),
}


@expand_groups
def build_command(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help="ONNX file that nstopt export wrote.")] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Bundle to write, a folder; default: nstopt-out/NAME.nst.")
    ] = None,
    backend: Annotated[str, typer.Option(help="openvino, onnxruntime, torchscript or tensorrt.")] = "openvino",
    fastest: Annotated[
        bool,
        typer.Option(
            "--fastest", help="Time all backends and precisions of this machine and keep the fastest with --min-psnr."
        ),
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Time the forms of each layer on this machine and take the fastest.")
    ] = False,
    drift: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Also compare with FP32 frame by frame on this video.")
    ] = None,
    precision: PrecisionOptions,
    pictures: PictureOptions,
    shape: ShapeOptions,
    device: DeviceOptions,
) -> None:
    """Build an engine bundle, and measure how far its pictures are from FP32."""
    if fastest and (others := sorted(given_on_command_line(context) & CHOSEN_BY_FASTEST)):
        raise typer.BadParameter(f"--fastest chooses the backend and the precision: leave --{others[0]} out")
    from nstopt.pipeline.spec import BuildSpec

    spec = BuildSpec(
        model=model or took(artifacts.newest_onnx()),
        folder=artifacts.FOLDER,
        output=output,
        precision=precision.name,
        backend=backend,
        sizes=shape.sizes,
        workspace_mib=device.workspace,
        force=device.force,
        tf32=device.tf32,
        strict=device.strict,
        verbose=device.verbose,
        batch=None if shape.any_batch else shape.batch,
        calib=pictures.calib,
        val=pictures.val,
        tune=tune,
        min_psnr_db=precision.min_psnr,
        symmetric=precision.symmetric,
        drift=drift,
    )
    if fastest:
        keep_fastest(spec)
    else:
        _build(spec, precision.plot)


def _build(spec: BuildSpec, plotted: Path | None) -> None:
    """Build one engine, print what came out, and draw the recipes tried if `plotted` names a file."""
    from nstopt.calib import plot
    from nstopt.pipeline.build import build_engine

    if plotted:
        plot.check(plotted)  # before the work
    with Bar() as bar:
        bundle = build_engine(spec, bar)
    if plotted:
        plot.plot(bundle.manifest.search, spec.min_psnr_db, plotted)
        say(f"wrote {plotted}: the recipes tried")
    _show(bundle)


def keep_fastest(spec: BuildSpec) -> None:
    """Build the fastest engine of a net, and print what it was chosen from."""
    from nstopt.bench.fastest import build_fastest, reasons
    from nstopt.cli.render.fastest import contender_table

    with Bar() as bar:
        found = build_fastest(spec, bar)
    console.print(contender_table(found.contenders))
    for line in reasons(found.contenders):
        say(f"left out: {line}")
    _show(found.bundle)


def _show(bundle: Bundle) -> None:
    """Print what was measured, chosen and written."""
    from nstopt.cli.render.bundle import build_notes, search_table, tuning_table

    manifest = bundle.manifest
    if manifest.tuning:
        console.print(tuning_table(manifest.tuning))
    if manifest.search and manifest.calibration:
        on_front = [one for one in manifest.search if one.on_front]
        console.print(search_table(on_front, manifest.calibration.judge))
    for line in build_notes(manifest):
        say(line)
    say(f"wrote {bundle.path}")
