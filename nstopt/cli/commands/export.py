"""`nstopt export`: checkpoint → ONNX and TorchScript."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, console, say
from nstopt.cli.options.engine import check_size
from nstopt.cli.options.group import expand_groups
from nstopt.cli.options.net import NetOptions
from nstopt.pictures.size import DEFAULT_SIZE, Size

if TYPE_CHECKING:
    from nstopt.export.exporter import Exported


@expand_groups
def export_command(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            help="Net: .pth, .pt, .safetensors, .npz, .ts, .pt2, .onnx, or a folder; default: a bundled sample."
        ),
    ] = None,
    *,
    sample: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A bundled net: johnson_starry, reconet_wave, realtime_starry."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="ONNX file to write; default: nstopt-out/NAME.onnx.")
    ] = None,
    torchscript: Annotated[Path | None, typer.Option(help="TorchScript file to write too.")] = None,
    res: Annotated[
        Size | None,
        typer.Option(
            parser=Size.parse,
            metavar="SIZE",
            help="Fix the picture size in pixels: 512, or HEIGHTxWIDTH such as 480x640; default: any size.",
        ),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Keep the picture size free (the default).")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how the rewrites of a build will change the graph, and why.")
    ] = False,
    backend: Annotated[str, typer.Option(help="Backend whose rewrites --explain shows.")] = "openvino",
    net: NetOptions,
) -> None:
    """Turn a trained net into ONNX (and TorchScript) with pictures in and out, checked against the net."""
    check_size(res is not None, dynamic)
    from nstopt.export.exporter import ExportSpec, export_net

    if explain:
        from nstopt import engines

        engines.backend(backend)  # an unknown name is found out before the work
    if checkpoint is None and sample is None:
        output = output or artifacts.FOLDER / "sample.onnx"
        torchscript = torchscript or artifacts.FOLDER / "sample.ts"
    checkpoint = _source(checkpoint, sample)
    spec = ExportSpec(
        checkpoint=checkpoint,
        onnx=output or artifacts.FOLDER / f"{checkpoint.stem}.onnx",
        torchscript=torchscript,
        size=res,
        **net.arguments(),
    )
    with Bar() as bar:
        exported = export_net(spec, bar)
    _show(exported)
    if explain:
        _explain(exported, backend)


def _source(checkpoint: Path | None, sample: str | None) -> Path:
    """Return the file of the net to export. Raises typer.BadParameter if --sample names none or one too many."""
    from nstopt.samples import SAMPLE, SAMPLES

    if checkpoint and sample:
        raise typer.BadParameter("leave the checkpoint out", param_hint="--sample")
    if checkpoint:
        return checkpoint
    if sample is None:
        say(f"took the bundled sample ({SAMPLE.name})")
        return SAMPLE
    if sample not in SAMPLES:
        raise typer.BadParameter(f"'{sample}' is not one of {', '.join(SAMPLES)}", param_hint="--sample")
    return SAMPLES[sample]


def _show(exported: Exported) -> None:
    for note in exported.notes:
        say(f"note: {note}")
    widths = "/".join(map(str, exported.net.widths))
    say(f"{exported.net.family} {widths}, {exported.net.blocks} blocks" if widths else exported.net.family)
    size = exported.size or "any size"
    say(f"wrote {exported.onnx}: opset 17, {size}, within {exported.max_gray_levels} gray level of the net")
    if exported.torchscript:
        say(f"wrote {exported.torchscript}")


def _explain(exported: Exported, backend: str) -> None:
    """Show the rewrites of a build. The written file stays the raw export. A free size is shown as 512x512."""
    from nstopt.cli.render.explain import rewrite_report
    from nstopt.export.onnx_file import read_onnx
    from nstopt.manifest import InputShape
    from nstopt.pipeline.explain import explain

    shape = InputShape.of(1, exported.size or DEFAULT_SIZE)
    console.print(rewrite_report(explain(read_onnx(exported.onnx), shape, backend)))
