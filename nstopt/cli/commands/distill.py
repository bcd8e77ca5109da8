"""`nstopt distill`: a net → a slimmer net that paints alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli.commands.train import (
    Amp,
    Batch,
    Crop,
    Data,
    Device,
    Every,
    Output,
    Rate,
    Resume,
    Run,
    Seed,
    Steps,
    train_and_save,
)
from nstopt.cli.console import Bar, console, say
from nstopt.cli.options import Alpha, Arch, InputRange, Mean, Multiple, OutputRange, Std, Styles, Vgg, net_options
from nstopt.pictures.size import Size


def distill_command(
    teacher: Annotated[Path, typer.Argument(help="The net to learn from, as nstopt export takes it.")],
    data: Data,
    output: Output,
    width: Annotated[
        int | None, typer.Option(min=1, help="Channels at full size, twice and four times that below; default: 16.")
    ] = None,
    blocks: Annotated[int, typer.Option(min=0, help="Residual blocks.")] = 3,
    kernel: Annotated[int, typer.Option(min=3, help="Size of the first and last convolution; odd.")] = 9,
    separable: Annotated[bool, typer.Option("--separable", help="Depthwise and pointwise convolutions.")] = False,
    res: Annotated[
        Size | None, typer.Option(parser=Size.parse, metavar="SIZE", help="Size to compare and time at: 512.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="GPU", help="Take the widest student that is fast enough on gtx-1060, …")
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=1000, help="Frames a second that --target must reach.")] = 60.0,
    val: Annotated[Path | None, typer.Option(help="Photographs to compare on; default: scikit-image's.")] = None,
    steps: Steps = 2000,
    batch: Batch = 2,
    crop: Crop = 256,
    rate: Rate = 4e-3,
    seed: Seed = 0,
    run: Run = None,
    every: Every = 200,
    resume: Resume = False,
    amp: Amp = False,
    device: Device = "auto",
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
    """Teach a slim net to paint as TEACHER does; compare their pictures, work and speed."""
    if kernel % 2 == 0:
        raise typer.BadParameter(f"{kernel} is even; a kernel that keeps the size is odd", param_hint="--kernel")
    if target and width:
        raise typer.BadParameter("--target chooses the width: leave --width out")
    from nstopt.cli.render.bundle import distilled
    from nstopt.nets import load_net
    from nstopt.pictures.size import DEFAULT_SIZE
    from nstopt.train.distill import Distill, DistillSpec, StudentSpec
    from nstopt.train.student import compare, fitting

    options = net_options(arch, input_range, output_range, mean, std, multiple, vgg, style, alpha)
    net, size = load_net(teacher, **options), res or DEFAULT_SIZE
    student = StudentSpec(width or StudentSpec.width, blocks, kernel, separable)
    if target:
        student, projected = fitting(student, target, fps, size)
        say(
            f"took width {student.width}: projected {projected.low_ms:.1f} to {projected.high_ms:.1f} ms in INT8 on a "
            f"{projected.device} at {size}, and {fps:g} FPS leave {1000 / fps:.1f} ms"
        )
    spec = DistillSpec(student, data, steps, crop, rate, seed=seed)
    train_and_save(lambda place: Distill(spec, net, place), output, run, steps, batch, every, amp, resume, device)
    with Bar() as bar:
        compared = compare(teacher, output, size, val, bar, **options)
    console.print(distilled(compared))
    quality = compared.quality
    say(
        f"student against teacher on {quality.pictures} pictures of {quality.source}: "
        f"PSNR {quality.psnr_db_mean:.1f} dB mean, {quality.psnr_db_worst:.1f} worst; "
        f"SSIM {quality.ssim_mean:.4f} mean, {quality.ssim_worst:.4f} worst"
    )
