"""Trains a Johnson net and writes it: python -m nstopt.train --style S --data PHOTOS/ --lossnet FILE -o OUT."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nstopt.errors import NstoptError
from nstopt.train.johnson import JohnsonSpec, Losses, train
from nstopt.train.save import check_writable, mean_losses, save_net

LAST = 100  # steps over which the losses that are reported are averaged
PRINT_EVERY = 100
CROP_MULTIPLE = 16  # of the loss network, which halves a picture four times


def main(
    style: Annotated[Path, typer.Option(help="The style picture.")],
    data: Annotated[Path, typer.Option(help="A folder of photographs.")],
    lossnet: Annotated[Path, typer.Option(help="The Darknet loss network, an .npz file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    widths: Annotated[tuple[int, int, int], typer.Option(help="Channels of the three encoder stages.")] = (16, 32, 48),
    blocks: Annotated[int, typer.Option(min=0, help="Residual blocks.")] = 2,
    steps: Annotated[int, typer.Option(min=1)] = 2000,
    batch: Annotated[int, typer.Option(min=1)] = 2,
    crop: Annotated[int, typer.Option(min=32, help="Side of the training crops, in pixels.")] = 256,
    style_side: Annotated[int, typer.Option(min=32, help="Shorter side of the style picture, in pixels.")] = 512,
    learning_rate: Annotated[float, typer.Option()] = 2e-3,
    content_weight: Annotated[float, typer.Option()] = 1.0,
    style_weight: Annotated[float, typer.Option()] = 1.0,
    variation_weight: Annotated[float, typer.Option()] = 1e-4,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Train a Johnson net to one style picture; write it as FP16 safetensors."""
    if crop % CROP_MULTIPLE:
        raise typer.BadParameter(f"{crop} is not a multiple of {CROP_MULTIPLE}", param_hint="--crop")
    spec = JohnsonSpec(
        style, data, lossnet, widths, blocks, steps, batch, crop, style_side,
        learning_rate, content_weight, style_weight, variation_weight, seed,
    )  # fmt: skip
    console = Console()
    try:
        check_writable(output)
        history = _run(spec, output, console)
    except NstoptError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    console.print(f"{output}: {_describe(mean_losses(history[-LAST:]))}", soft_wrap=True)


def _run(spec: JohnsonSpec, output: Path, console: Console) -> list[Losses]:
    history: list[Losses] = []
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=spec.steps)

        def on_step(losses: Losses) -> None:
            history.append(losses)
            progress.advance(task)
            if losses.step % PRINT_EVERY == 0:
                console.print(_describe(mean_losses(history[-LAST:])), soft_wrap=True)

        state = train(spec, on_step)
    save_net(output, state, spec, mean_losses(history[-LAST:]))
    return history


def _describe(losses: Losses) -> str:
    parts = {name: value for name, value in asdict(losses).items() if name != "step"}
    return f"step {losses.step}: loss {losses.total:.4f} (" + ", ".join(f"{n} {v:.4f}" for n, v in parts.items()) + ")"


if __name__ == "__main__":
    typer.run(main)
