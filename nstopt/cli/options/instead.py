"""Options that let `nstopt bench` measure something else than latency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nstopt.cli.options.group import OptionGroup
from nstopt.cli.options.values import StrengthList, parse_strengths

# The options of the command that go with each of these modes.
GO_WITH = {
    "startup": {"paths", "image"},
    "temporal": {"paths", "stabilize"},
    "video": {"paths"},
    "live": {"paths", "minutes", "checkpoint", "target"},
}


@dataclass(frozen=True)
class InsteadOptions(OptionGroup):
    """What to measure instead of latency: at most one of the modes of GO_WITH."""

    panel = "Instead of latency, measure"

    startup: Annotated[bool, typer.Option("--startup", help="The start-up time and memory of the command itself.")] = (
        False
    )
    temporal: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="How much this video flickers when stylized.")
    ] = None
    stabilize: Annotated[
        StrengthList | None,
        typer.Option(
            parser=parse_strengths, metavar="LIST", help="With --temporal: strengths of --stabilize, such as 0,0.5,1."
        ),
    ] = None
    video: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Decoding, net and encoding of this video, and all at once.")
    ] = None
    live: Annotated[bool, typer.Option("--live", help="nstopt live, beside a loop that does one step at a time.")] = (
        False
    )
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="With --live: load it for so long, with three times too many frames.")
    ] = None

    def check_alone(self, given: set[str]) -> None:
        """Raise typer.BadParameter if one of the options `given` on the command line would have no effect."""
        if self.minutes is not None and not self.live:
            raise typer.BadParameter("--minutes goes with --live")
        if self.stabilize is not None and self.temporal is None:
            raise typer.BadParameter("--stabilize goes with --temporal CLIP: name the video to stabilize")
        for mode, allowed in GO_WITH.items():
            others = sorted(given - allowed - {mode})
            if mode in given and others:
                name = others[0].replace("_", "-")
                raise typer.BadParameter(
                    f"--{mode} measures something else, for which --{name} does nothing: leave it out"
                )
