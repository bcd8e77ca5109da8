"""Options of pictures that are larger than usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from nstopt.cli.options.group import OptionGroup
from nstopt.cli.options.values import parse_memory


@dataclass(frozen=True)
class LargeOptions(OptionGroup):
    """How much memory a picture may take, and how many pixels it may have."""

    panel: ClassVar[str] = "Large pictures"
    max_memory: Annotated[
        int | None,
        typer.Option(
            metavar="AMOUNT",
            parser=parse_memory,
            help="Memory of the whole process, such as 2GiB; a picture that would take more is run in strips, with the "
            "same result. Default: what the machine has left.",
            show_default=False,
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        typer.Option(metavar="COUNT", min=1, help="Pixels of a picture; default: 178956970.", show_default=False),
    ] = None
