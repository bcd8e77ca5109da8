"""`nstopt train johnson|reconet|adain`: photographs and a style → a net."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli.app import App
from nstopt.cli.console import Bar, help_without_command, say
from nstopt.cli.options.group import expand_groups, given
from nstopt.cli.options.training import (
    ArchitectureOptions,
    Photographs,
    StyleOptions,
    StylePicture,
    TrainedNet,
    TrainOptions,
    one_of,
)
from nstopt.cli.render.training import loss_line

if TYPE_CHECKING:
    from nstopt.train.process import ProcessContext
    from nstopt.train.trainer import System, TrainSpec

app = App(
    help="Train a net of your own. On several GPUs: torchrun --nproc-per-node 2 -m nstopt train ...",
    invoke_without_command=True,
    callback=help_without_command,
)


@app.command("johnson")
@expand_groups
def johnson_command(
    *,
    style: StylePicture,
    data: Photographs,
    output: TrainedNet,
    losses: StyleOptions,
    net: ArchitectureOptions,
    options: TrainOptions,
) -> None:
    """Train a Johnson net to one style."""
    from nstopt.train.johnson import Johnson, JohnsonSpec
    from nstopt.train.trainer import TrainSpec

    spec = JohnsonSpec(
        style=losses.spec(style),
        data=data,
        lossnet=losses.lossnet,
        **net.given("widths", "blocks"),
        **options.given("steps", "crop", "peak_rate", "seed"),
    )
    train_and_save(lambda place: Johnson(spec, place), output, options, TrainSpec)


@app.command("reconet")
@expand_groups
def reconet_command(
    *,
    style: StylePicture,
    data: Annotated[Path, typer.Option(help="Folder of photographs; with --clips, of video clips.")],
    output: TrainedNet,
    clips: Annotated[bool, typer.Option("--clips", help="Train on video clips, whose motion is estimated.")] = False,
    norm: Annotated[
        str | None,
        typer.Option(
            metavar="instance|frn",
            callback=one_of("instance", "frn"),
            help="Instance norm with ReLU, or filter response norm with thresholded linear units.",
        ),
    ] = None,
    feature_weight: Annotated[
        float | None, typer.Option(min=0, max=1e15, help="Weight of the feature temporal loss.")
    ] = None,
    output_weight: Annotated[
        float | None, typer.Option(min=0, max=1e15, help="Weight of the output temporal loss.")
    ] = None,
    losses: StyleOptions,
    net: ArchitectureOptions,
    options: TrainOptions,
) -> None:
    """Train a ReCoNet, whose video does not flicker, to one style."""
    from nstopt.train.reconet import Reconet, ReconetSpec
    from nstopt.train.trainer import TrainSpec

    own = {
        "frn": None if norm is None else norm == "frn",
        "feature_weight": feature_weight,
        "output_weight": output_weight,
    }
    spec = ReconetSpec(
        style=losses.spec(style),
        data=data,
        lossnet=losses.lossnet,
        from_clips=clips,
        **given(own),
        **net.given("widths", "blocks"),
        **options.given("steps", "crop", "peak_rate", "seed"),
    )
    train_and_save(lambda place: Reconet(spec, place), output, options, TrainSpec)


@app.command("adain")
@expand_groups
def adain_command(
    *,
    style_dir: Annotated[Path, typer.Option(help="Folder of style pictures.")],
    data: Photographs,
    vgg: Annotated[Path, typer.Option(help="Normalized VGG of pytorch-AdaIN, vgg_normalised.pth.")],
    output: TrainedNet,
    style_weight: Annotated[
        float | None, typer.Option(min=0, max=1e15, help="Weight of the style loss, lambda in the paper.")
    ] = None,
    decay: Annotated[
        float | None, typer.Option(min=0, max=1e06, help="The learning rate of step i is divided by 1 + decay * i.")
    ] = None,
    options: TrainOptions,
) -> None:
    """Train an AdaIN decoder, which takes any style at export."""
    from nstopt.train.adain import Adain, AdainSpec, AdainTrainSpec

    spec = AdainSpec(
        data=data,
        style_dir=style_dir,
        vgg=vgg,
        **given({"style_weight": style_weight, "decay": decay}),
        **options.given("steps", "crop", "peak_rate", "seed"),
    )
    train_and_save(lambda place: Adain(spec, place), output, options, AdainTrainSpec)


def train_and_save(
    make: Callable[[ProcessContext], System], output: Path, options: TrainOptions, loop: type[TrainSpec]
) -> None:
    """Train the system that `make` returns for this process, and write its net. `loop` is the spec class that has the
    defaults of the training loop. Raises what training raises."""
    from nstopt.train.process import join_processes
    from nstopt.train.save import check_writable, save_net
    from nstopt.train.trainer import train

    check_writable(output)
    spec = loop(
        run=options.run or output.with_suffix(".run"),
        amp=options.amp,
        resume=options.resume,
        **options.given("steps", "batch", "every"),
    )

    def report(step: int, losses: dict[str, float]) -> None:
        say(f"step {step}: {loss_line(losses)}")

    with join_processes(options.device) as place:
        system = make(place)
        with Bar() as bar:
            losses = train(system, spec, place, bar, report)
        if place.rank == 0:
            save_net(output, system.weights(), spec.settings(system, place), losses)
            say(f"wrote {output}: {loss_line(losses)} (mean of the last hundred steps); logs in {spec.run}")
