"""Options of a video that is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from nstopt.cli.options.group import OptionGroup
from nstopt.cli.options.values import parse_strength, parse_time


@dataclass(frozen=True)
class VideoOptions(OptionGroup):
    """How a video is encoded, and which part of it is stylized."""

    panel: ClassVar[str] = "Video"
    codec: Annotated[
        str | None,
        typer.Option(help="h264, hevc, av1, vp9, ffv1, prores, …; default: h264, or hevc for 10 bits and HDR."),
    ] = None
    crf: Annotated[
        int | None, typer.Option(min=0, max=63, help="Constant quality; lower is better. Default: by codec.")
    ] = None
    start: Annotated[
        float | None,
        typer.Option(metavar="TIME", parser=parse_time, help="Begin here: seconds, or [HH:]MM:SS.", show_default=False),
    ] = None
    end: Annotated[
        float | None, typer.Option(metavar="TIME", parser=parse_time, help="End here.", show_default=False)
    ] = None
    streams: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Frames that the net works on side by side; default: one a core, at most 4.",
            show_default=False,
        ),
    ] = None
    stabilize: Annotated[
        float,
        typer.Option(
            metavar="STRENGTH", parser=parse_strength, help="Reduce flicker: 0 (not at all) to 1.", show_default="0"
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        if self.stabilize and self.streams:
            raise typer.BadParameter("--streams has no effect with --stabilize, where a frame waits for the one before")
