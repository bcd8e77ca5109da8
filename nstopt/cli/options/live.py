"""Options of `nstopt live`: what is shown, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli.options.group import OptionGroup
from nstopt.pictures.size import Size

if TYPE_CHECKING:
    from nstopt.live.sources import Source


@dataclass(frozen=True)
class SourceOptions(OptionGroup):
    """The picture that is stylized."""

    panel = "Source"

    camera: Annotated[
        int | None, typer.Option(min=0, help="Number of the camera; default: the first one that works.")
    ] = None
    camera_size: Annotated[
        Size | None,
        typer.Option(parser=Size.parse, metavar="SIZE", help="HEIGHTxWIDTH to ask the camera for; default: its own."),
    ] = None
    source: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL|test", help="Instead of a camera: a video, a stream, or a moving test picture."),
    ] = None
    loop: Annotated[bool, typer.Option("--loop", help="Play a video again when it ends.")] = False

    def __post_init__(self) -> None:
        if self.source is not None and (self.camera is not None or self.camera_size):
            raise typer.BadParameter("--source and --camera are two pictures to stylize: give one of them")
        if self.loop and self.source is None:
            raise typer.BadParameter("--loop plays a video again: name one with --source")

    def open(self) -> Source:
        """Return the source. Without options, it is the first camera, or the test picture where there is none. Raises
        MediaError if there is no such file."""
        from nstopt.live.sources import CAMERAS, Camera, MovingPicture, find_source, first_camera

        if self.source is not None:
            return find_source(self.source, self.loop)
        if self.camera is not None:
            return Camera(CAMERAS / f"video{self.camera}", self.camera_size)
        return first_camera(self.camera_size) or MovingPicture(name="moving test picture, since there is no camera")


@dataclass(frozen=True)
class DisplayOptions(OptionGroup):
    """Where the result is shown."""

    panel = "Displays (default: --serve)"

    serve: Annotated[
        bool, typer.Option("--serve", help="A page for browsers; the default unless another display is asked for.")
    ] = False
    host: Annotated[
        str, typer.Option(help="Address that the page is served on; 0.0.0.0 serves the network, with a token.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any that is free.")] = 8642
    window: Annotated[bool, typer.Option("--window", help="A window on this machine, with keys.")] = False
    virtual_camera: Annotated[
        bool, typer.Option("--virtual-camera", help="A camera that other programs see, by v4l2loopback.")
    ] = False
    virtual_device: Annotated[
        Path | None, typer.Option(metavar="DEVICE", help="Device of the virtual camera; default: the first one.")
    ] = None

    @property
    def page(self) -> bool:
        """True if the page is to be served."""
        return self.serve or not (self.window or self.virtual_camera)
