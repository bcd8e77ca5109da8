"""`nstopt distill`: a net → a slimmer net that paints alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli.train import (
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
from nstopt.console import Bar, console, say
from nstopt.options import Alpha, Arch, InputRange, Mean, Multiple, OutputRange, Std, Styles, Vgg, net_options
from nstopt.size import Size


def distill_command(
    teacher: Annotated[Path, typer.Argument(help="The net to learn from, as nstopt export takes it.")],
    data: Data,
    output: Output,
    width: Annotated[int, typer.Option(min=1, help="Channels at full size; twice and four times that below.")] = 16,
    blocks: Annotated[int, typer.Option(min=0, help="Residual blocks.")] = 3,
    kernel: Annotated[int, typer.Option(min=3, help="Size of the first and last convolution; odd.")] = 9,
    separable: Annotated[bool, typer.Option("--separable", help="Depthwise and pointwise convolutions.")] = False,
    res: Annotated[
        Size | None, typer.Option(parser=Size.parse, metavar="SIZE", help="Size to compare and time at: 512.")
    ] = None,
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
    from nstopt.distillation import compare
    from nstopt.nets import load_net
    from nstopt.pipeline import DEFAULT_SIZE
    from nstopt.summary import distilled
    from nstopt.train.distill import Distill, DistillSpec, StudentSpec

    options = net_options(arch, input_range, output_range, mean, std, multiple, vgg, style, alpha)
    net = load_net(teacher, **options)
    spec = DistillSpec(StudentSpec(width, blocks, kernel, separable), data, steps, crop, rate, seed=seed)
    train_and_save(lambda place: Distill(spec, net, place), output, run, steps, batch, every, amp, resume, device)
    with Bar() as bar:
        compared = compare(teacher, output, res or DEFAULT_SIZE, val, bar, **options)
    console.print(distilled(compared))
    quality = compared.quality
    say(
        f"student against teacher on {quality.pictures} pictures of {quality.source}: "
        f"PSNR {quality.psnr_db_mean:.1f} dB mean, {quality.psnr_db_worst:.1f} worst; "
        f"SSIM {quality.ssim_mean:.4f} mean, {quality.ssim_worst:.4f} worst"
    )
