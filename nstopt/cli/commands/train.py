"""`nstopt train johnson|reconet|adain`: photographs and a style → a net."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli.console import Bar, say

if TYPE_CHECKING:
    from nstopt.train.process import ProcessContext
    from nstopt.train.trainer import System

CROP_MULTIPLE = 16  # the Darknet loss network halves a picture four times, the nets halve it twice
Widths = tuple[int, int, int]

app = typer.Typer(
    help="Train a net of your own. On several GPUs: torchrun --nproc-per-node 2 -m nstopt train ...",
    no_args_is_help=True,
)


def _multiple(side: int) -> int:
    if side % CROP_MULTIPLE:
        raise typer.BadParameter(f"{side} is not a multiple of {CROP_MULTIPLE}")
    return side


def one_of(*allowed: str) -> Callable[[str], str]:
    """Whether an option is one of these words."""

    def check(value: str) -> str:
        if value not in allowed:
            raise typer.BadParameter(f"'{value}' is not one of {', '.join(allowed)}")
        return value

    return check


Output = Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")]
Data = Annotated[Path, typer.Option(help="Folder of photographs.")]
StylePicture = Annotated[Path, typer.Option("--style", help="The style picture.")]
StyleSide = Annotated[int, typer.Option(min=32, help="Shorter side of the style picture: larger, coarser strokes.")]
LossNet = Annotated[
    Path, typer.Option(help="Loss network: vgg16, vgg19 (from torch's cache), a .pth or Darknet's .npz.")
]
ContentWeight = Annotated[float, typer.Option(min=0)]
StyleWeight = Annotated[float, typer.Option(min=0)]
VariationWeight = Annotated[float, typer.Option(min=0, help="Against speckles.")]
NetWidths = Annotated[Widths, typer.Option(min=1, help="Channels of the three encoder stages.")]
Blocks = Annotated[int, typer.Option(min=0, help="Residual blocks.")]
Steps = Annotated[int, typer.Option(min=1)]
Batch = Annotated[int, typer.Option(min=1, help="Samples a step and process.")]
Crop = Annotated[int, typer.Option(min=32, callback=_multiple, help="Side of the training crops, in pixels.")]
Rate = Annotated[float, typer.Option(min=0, help="Highest learning rate.")]
Seed = Annotated[int, typer.Option(min=0)]
Run = Annotated[Path | None, typer.Option(help="Folder of logs and checkpoint; default: beside the output, .run.")]
Every = Annotated[int, typer.Option(min=1, help="Steps between checkpoints and sample pictures.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint, if there is one.")]
Amp = Annotated[bool, typer.Option("--amp", help="Half precision where it is safe: float16 on a GPU, else bfloat16.")]
Device = Annotated[str, typer.Option(callback=one_of("auto", "cpu", "cuda"), help="auto, cpu or cuda.")]


@app.command("johnson")
def johnson_command(
    style: StylePicture,
    data: Data,
    lossnet: LossNet,
    output: Output,
    style_side: StyleSide = 300,
    content_weight: ContentWeight = 1.5,
    style_weight: StyleWeight = 6.0,
    variation_weight: VariationWeight = 1e-4,
    widths: NetWidths = (16, 32, 48),
    blocks: Blocks = 2,
    steps: Steps = 2000,
    batch: Batch = 2,
    crop: Crop = 256,
    rate: Rate = 2e-3,
    seed: Seed = 0,
    run: Run = None,
    every: Every = 200,
    resume: Resume = False,
    amp: Amp = False,
    device: Device = "auto",
) -> None:
    """Train a Johnson net to one style."""
    from nstopt.train.johnson import Johnson, JohnsonSpec
    from nstopt.train.objective import StyleSpec

    target = StyleSpec(style, style_side, content_weight, style_weight, variation_weight)
    spec = JohnsonSpec(target, data, lossnet, steps, widths, blocks, crop, rate, seed)
    train_and_save(lambda place: Johnson(spec, place), output, run, steps, batch, every, amp, resume, device)


@app.command("reconet")
def reconet_command(
    style: StylePicture,
    data: Annotated[Path, typer.Option(help="Folder of photographs; with --clips, of video clips.")],
    lossnet: LossNet,
    output: Output,
    norm: Annotated[
        str, typer.Option(metavar="instance|frn", callback=one_of("instance", "frn"), help="frn: with TLU.")
    ] = "frn",
    clips: Annotated[bool, typer.Option("--clips", help="Learn from clips, their flow estimated.")] = False,
    style_side: StyleSide = 300,
    content_weight: ContentWeight = 1.5,
    style_weight: StyleWeight = 6.0,
    variation_weight: VariationWeight = 1e-4,
    feature_weight: Annotated[float, typer.Option(min=0, help="Of the feature temporal loss.")] = 0.3,
    output_weight: Annotated[float, typer.Option(min=0, help="Of the output temporal loss.")] = 30.0,
    widths: NetWidths = (16, 32, 48),
    blocks: Blocks = 2,
    steps: Steps = 2000,
    batch: Batch = 2,
    crop: Crop = 256,
    rate: Rate = 2e-3,
    seed: Seed = 0,
    run: Run = None,
    every: Every = 200,
    resume: Resume = False,
    amp: Amp = False,
    device: Device = "auto",
) -> None:
    """Train a ReCoNet, whose frames do not flicker, to one style."""
    from nstopt.train.objective import StyleSpec
    from nstopt.train.reconet import Reconet, ReconetSpec

    target = StyleSpec(style, style_side, content_weight, style_weight, variation_weight)
    spec = ReconetSpec(
        target, data, lossnet, steps, clips, norm == "frn", widths, blocks, crop, rate,
        feature_weight, output_weight, seed,
    )  # fmt: skip
    train_and_save(lambda place: Reconet(spec, place), output, run, steps, batch, every, amp, resume, device)


@app.command("adain")
def adain_command(
    style_dir: Annotated[Path, typer.Option(help="Folder of style pictures.")],
    data: Data,
    vgg: Annotated[Path, typer.Option(help="Normalized VGG of pytorch-AdaIN, vgg_normalized.pth.")],
    output: Output,
    style_weight: Annotated[float, typer.Option(min=0, help="The paper's lambda.")] = 10.0,
    steps: Steps = 160_000,
    batch: Batch = 8,
    crop: Crop = 256,
    rate: Rate = 1e-4,
    decay: Annotated[float, typer.Option(min=0, help="The rate of step i is divided by 1 + decay * i.")] = 5e-5,
    seed: Seed = 0,
    run: Run = None,
    every: Every = 1000,
    resume: Resume = False,
    amp: Amp = False,
    device: Device = "auto",
) -> None:
    """Train an AdaIN decoder, which takes any style at export."""
    from nstopt.train.adain import Adain, AdainSpec

    spec = AdainSpec(data, style_dir, vgg, steps, crop, style_weight, rate, decay, seed)
    train_and_save(lambda place: Adain(spec, place), output, run, steps, batch, every, amp, resume, device)


def train_and_save(
    make: Callable[[ProcessContext], System],
    output: Path,
    run: Path | None,
    steps: int,
    batch: int,
    every: int,
    amp: bool,
    resume: bool,
    device: str,
) -> None:
    """Train the system that `make` gives for this process's place, and write its net."""
    from nstopt.train.process import join_processes
    from nstopt.train.save import check_writable, save_net
    from nstopt.train.trainer import TrainSpec, train

    check_writable(output)
    spec = TrainSpec(run or output.with_suffix(".run"), steps, batch, every, amp, resume)

    def report(step: int, losses: dict[str, float]) -> None:
        say(f"step {step}: {describe(losses)}")

    with join_processes(device) as place:
        system = make(place)
        with Bar() as bar:
            losses = train(system, spec, place, bar, report)
        if place.rank == 0:
            save_net(output, system.weights(), spec.settings(system, place), losses)
            say(f"wrote {output}: {describe(losses)} (mean of the last hundred steps); logs in {spec.run}")


def describe(losses: dict[str, float]) -> str:
    """`loss 0.7305 (content 0.4575, style 0.2403)`."""
    parts = ", ".join(f"{name} {value:.4f}" for name, value in losses.items() if name != "total")
    return f"loss {losses['total']:.4f} ({parts})"
