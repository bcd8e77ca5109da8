"""Options of the training commands. Their defaults are those of the specs in nstopt.train, which import torch: an
option that is not given stays None here, and the spec is built without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli.options.group import OptionGroup

if TYPE_CHECKING:
    from nstopt.train.distill import StudentSpec
    from nstopt.train.objective import StyleSpec

# Darknet's loss network halves a picture four times, the nets halve it twice.
CROP_MULTIPLE = 16


def one_of(*allowed: str) -> Callable[[str | None], str | None]:
    """Return a callback for an option that takes one of these words. It raises typer.BadParameter for any other."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in allowed:
            raise typer.BadParameter(f"'{value}' is not one of {', '.join(allowed)}")
        return value

    return check


def check_crop(side: int | None) -> int | None:
    """Return `side`. Raises typer.BadParameter if it is not a multiple of CROP_MULTIPLE."""
    if side is not None and side % CROP_MULTIPLE:
        raise typer.BadParameter(f"{side} is not a multiple of {CROP_MULTIPLE}")
    return side


def check_odd(kernel: int | None) -> int | None:
    """Return `kernel`. Raises typer.BadParameter if it is even."""
    if kernel is not None and kernel % 2 == 0:
        raise typer.BadParameter(f"{kernel} is even; a kernel that keeps the size is odd")
    return kernel


TrainedNet = Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")]
Photographs = Annotated[Path, typer.Option(help="Folder of photographs to train on.")]
StylePicture = Annotated[Path, typer.Option("--style", help="The style picture.")]
Device = Annotated[str, typer.Option(callback=one_of("auto", "cpu", "cuda"), help="auto, cpu or cuda.")]
Seed = Annotated[int | None, typer.Option(min=0, max=4_294_967_295, help="Seed of all random numbers.")]


@dataclass(frozen=True)
class StyleOptions(OptionGroup):
    """Options of the perceptual losses, which compare a picture with the photograph and with the style."""

    panel = "Losses (defaults: those of nstopt.train)"

    lossnet: Annotated[
        Path, typer.Option(help="Loss network: vgg16 or vgg19 from torch's cache, a .pth file, or Darknet's .npz.")
    ]
    style_side: Annotated[
        int | None,
        typer.Option(
            min=32, max=8192, help="Shorter side of the style picture, in pixels; a larger one gives coarser strokes."
        ),
    ] = None
    content_weight: Annotated[float | None, typer.Option(min=0, max=1e15, help="Weight of the content loss.")] = None
    style_weight: Annotated[float | None, typer.Option(min=0, max=1e15, help="Weight of the style loss.")] = None
    variation_weight: Annotated[
        float | None, typer.Option(min=0, max=1e15, help="Weight of the total variation, which works against speckles.")
    ] = None

    def spec(self, style: Path) -> StyleSpec:
        """Return the losses for this style picture."""
        from nstopt.train.objective import StyleSpec

        given = self.given("style_side", "content_weight", "style_weight", "variation_weight")
        return StyleSpec(style=style, **given)


@dataclass(frozen=True)
class ArchitectureOptions(OptionGroup):
    """Options of the net that is trained."""

    panel = "Net (defaults: those of nstopt.train)"

    widths: Annotated[
        tuple[int, int, int] | None, typer.Option(min=1, max=4096, help="Channels of the three encoder stages.")
    ] = None
    blocks: Annotated[int | None, typer.Option(min=0, max=256, help="Number of residual blocks.")] = None


@dataclass(frozen=True)
class TrainOptions(OptionGroup):
    """Options of every training."""

    panel = "Training (defaults: those of nstopt.train)"

    steps: Annotated[int | None, typer.Option(min=1, max=1_000_000_000, help="Number of training steps.")] = None
    batch: Annotated[int | None, typer.Option(min=1, max=4096, help="Samples a step and process.")] = None
    crop: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=4096,
            callback=check_crop,
            help=f"Side of the training crops, in pixels; a multiple of {CROP_MULTIPLE}.",
        ),
    ] = None
    peak_rate: Annotated[float | None, typer.Option("--rate", min=0, max=1e06, help="Highest learning rate.")] = None
    seed: Seed = None
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the logs and the checkpoint; default: the output's name with the suffix .run."),
    ] = None
    every: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000_000, help="Steps from one checkpoint and sample picture to the next."),
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint, if there is one.")] = False
    amp: Annotated[
        bool, typer.Option("--amp", help="Half precision where it is safe: float16 on a GPU, bfloat16 on a CPU.")
    ] = False
    device: Device = "auto"


@dataclass(frozen=True)
class StudentOptions(OptionGroup):
    """Options of the net that is distilled."""

    panel = "Student (defaults: those of nstopt.train)"

    width: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help="Channels at full size; twice as many at half size, four times at a quarter."
        ),
    ] = None
    blocks: Annotated[int | None, typer.Option(min=0, max=256, help="Number of residual blocks.")] = None
    kernel: Annotated[
        int | None,
        typer.Option(min=3, max=63, callback=check_odd, help="Kernel side of the first and last convolution; odd."),
    ] = None
    separable: Annotated[bool, typer.Option("--separable", help="Depthwise and pointwise convolutions.")] = False

    def spec(self) -> StudentSpec:
        """Return the student."""
        from nstopt.train.distill import StudentSpec

        return StudentSpec(separable=self.separable, **self.given("width", "blocks", "kernel"))
