"""Options that say how to read a net's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nstopt.cli.options.group import OptionGroup
from nstopt.cli.options.values import (
    Triple,
    ValueRange,
    Weighted,
    parse_divisor,
    parse_range,
    parse_triple,
    parse_weighted,
)

if TYPE_CHECKING:
    from nstopt.nets import Convention


@dataclass(frozen=True)
class NetOptions(OptionGroup):
    """Options for nets of unknown families, which need a class or a value range, and for AdaIN decoders, which need
    a VGG and a style."""

    panel = "Reading the net"

    arch: Annotated[str | None, typer.Option(metavar="MODULE:CLASS", help="Class of a net of an unknown family.")] = (
        None
    )
    input_range: Annotated[
        ValueRange | None,
        typer.Option(
            parser=parse_range,
            metavar="LO,HI",
            help="Input values of a net of an unknown family for black and white, such as 0,255.",
        ),
    ] = None
    output_range: Annotated[
        ValueRange | None,
        typer.Option(
            parser=parse_range, metavar="LO,HI", help="Its output values for black and white; default: --input-range."
        ),
    ] = None
    mean: Annotated[
        Triple | None,
        typer.Option(
            parser=parse_triple,
            metavar="R,G,B",
            help="Mean that the net wants subtracted, in units of --input-range; default: 0.",
        ),
    ] = None
    std: Annotated[
        Triple | None,
        typer.Option(
            parser=parse_divisor,
            metavar="R,G,B",
            help="Standard deviation that the net wants divided by, in units of --input-range; default: 1.",
        ),
    ] = None
    multiple: Annotated[
        int | None, typer.Option(min=1, max=256, help="Height and width must be multiples of this, in pixels.")
    ] = None
    vgg: Annotated[Path | None, typer.Option(help="AdaIN: file of the normalized VGG.")] = None
    styles: Annotated[
        list[Weighted] | None,
        typer.Option(
            "--style",
            parser=parse_weighted,
            metavar="PICTURE[:WEIGHT]",
            help="AdaIN: style to bake in; repeat it to blend several. Default weight: 1.",
        ),
    ] = None
    alpha: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="AdaIN: strength of the style; 0 keeps the content.")
    ] = 1.0

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that `nets.load_net` and ExportSpec share. Raises typer.BadParameter if a range,
        mean or deviation is given without --input-range."""
        return {
            "arch": self.arch,
            "convention": self._convention(),
            "multiple": self.multiple,
            "vgg": self.vgg,
            "styles": tuple(self.styles or ()),
            "alpha": self.alpha,
        }

    def _convention(self) -> Convention | None:
        if not (self.input_range or self.output_range or self.mean or self.std):
            return None
        if self.input_range is None:
            raise typer.BadParameter("--output-range, --mean and --std need --input-range: they are in its units")
        from nstopt.nets import Convention

        output_range = self.output_range or self.input_range
        return Convention(input_range=self.input_range, output_range=output_range, **self.given("mean", "std"))
