"""`nstopt export`: checkpoint → ONNX and TorchScript."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli import defaults as artifacts
from nstopt.cli.console import Bar, console, say
from nstopt.cli.options import Alpha, Arch, InputRange, Mean, Multiple, OutputRange, Res, Std, Styles, Vgg, net_options
from nstopt.pictures.size import Size


def export_command(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="Net: .pth, .pt, .safetensors, .npz, .ts, .pt2, .onnx, folder.")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A bundled net: johnson_starry, reconet_wave, realtime_starry."),
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
    from nstopt.samples import SAMPLE, SAMPLES

    if explain:
        from nstopt import engines

        engines.backend(backend)  # an unknown name is found out before the work
    if sample:
        if checkpoint or sample not in SAMPLES:
            known = f"'{sample}' is not one of {', '.join(SAMPLES)}"
            raise typer.BadParameter("leave the checkpoint out" if checkpoint else known, param_hint="--sample")
        checkpoint = SAMPLES[sample]
    elif checkpoint is None:
        checkpoint, torchscript = SAMPLE, torchscript or artifacts.FOLDER / "sample.ts"
        output = output or artifacts.FOLDER / "sample.onnx"
        say(f"took the bundled sample ({SAMPLE.name})")
    spec = ExportSpec(
        checkpoint=checkpoint,
        onnx=output or artifacts.FOLDER / f"{checkpoint.stem}.onnx",
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
    say(f"wrote {done.onnx}: opset 17, {done.size or 'any size'}, within {done.max_gray_levels} gray level of the net")
    if done.torchscript:
        say(f"wrote {done.torchscript}")
    if explain:
        _explain(done.onnx, done.size, backend)


def _explain(model: Path, size: Size | None, backend: str) -> None:
    """The written file stays the raw export; a build rewrites it. Where its size is free, 512x512 is shown."""
    from nstopt.bundle import InputShape
    from nstopt.cli.render.explain import render
    from nstopt.export.onnx_file import read_onnx
    from nstopt.pictures.size import DEFAULT_SIZE
    from nstopt.pipeline.explain import explain

    shape = InputShape.of(1, size or DEFAULT_SIZE)
    console.print(render(explain(read_onnx(model), shape, backend)))
