"""`nstopt live`: a camera, stylized, in a browser page, a window or a virtual camera."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstopt.cli import artifacts
from nstopt.cli.console import Bar, say, took
from nstopt.cli.options.group import expand_groups
from nstopt.cli.options.live import DisplayOptions, SourceOptions
from nstopt.errors import BundleError, NstoptError
from nstopt.pictures.size import Size

if TYPE_CHECKING:
    from nstopt.live.session import Session
    from nstopt.live.sources import Source

# The size of the bundled net's engine: that of most cameras.
CAMERA_SIZE = Size(480, 640)
Display = Callable[[], Coroutine[None, None, None]]


@expand_groups
def live_command(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BUNDLE…", help="Engine bundles, a style each; default: the newest, or a bundled net."),
    ] = None,
    *,
    fps: Annotated[
        float | None,
        typer.Option(min=1, max=240, help="Hold this rate by the size of the net's pictures; for engines of any size."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of recordings and screenshots; default: nstopt-out.")
    ] = artifacts.FOLDER,
    source: SourceOptions,
    displays: DisplayOptions,
) -> None:
    """Stylize a camera live, in a browser page, a window, or a camera for other programs. The net always gets the
    newest frame, so that no delay can grow. Ctrl-C ends it."""
    import asyncio

    from nstopt.live.controls import FIXED, Controls
    from nstopt.live.memory import keep_memory_flat
    from nstopt.live.session import Session, load_styles
    from nstopt.live.show import show

    opened = source.open()
    paths = bundles or [_default_bundle(fps)]
    with ExitStack() as stack:
        styles = load_styles(paths, stack)
        for style in styles:
            if fps and not style.engine.shape.sizes.is_any:
                raise NstoptError(f"--fps {fps:g}: {style.name} {FIXED}")

        def session_of(one: Source) -> Session:
            return Session(styles, Controls(style=styles[0].name, fps=fps), one, output, say)

        session = session_of(opened)
        stack.callback(session.close)
        shown_by = list(_displays(session, session_of, displays))  # first, since a package may be missing
        session.start()
        keep_memory_flat()
        _introduce(session)
        asyncio.run(show(session, [display() for display in shown_by]))


def _default_bundle(fps: float | None) -> Path:
    """Return the newest bundle, or the bundled net's where nothing was built yet."""
    try:
        return took(artifacts.newest_bundle())
    except BundleError:
        from nstopt.bench.default_engine import default_engine

        with Bar() as bar:
            return default_engine(None if fps else CAMERA_SIZE, bar, say)


def _introduce(session: Session) -> None:
    """Print what is shown, and what it runs on."""
    say(f"source: {session.capture.source.name}, {session.camera_size}")
    for name, style in session.pipeline.styles.items():
        built = style.engine.manifest
        runs = f"{built.backend.name} {built.precision.computes} on {built.backend.device}"
        say(f"style {name}: {runs}, {built.shape.sizes}")
        for warning in style.engine.warnings:
            say(warning)


def _displays(session: Session, session_of: Callable[[Source], Session], options: DisplayOptions) -> Iterator[Display]:
    if options.window:
        from nstopt.live.window import show_window

        yield partial(show_window, session, say)
    if options.virtual_camera:
        from nstopt.live.virtual_camera import feed_virtual_camera

        yield partial(feed_virtual_camera, session, options.virtual_device)
    if options.page:
        from nstopt.live.page.server import Address, PageServer, serve

        server = PageServer(session, session_of, Address(options.host, options.port))
        yield partial(serve, server, _tell_address)


def _tell_address(address: str) -> None:
    say(f"ready: {address}")
    if "token=" in address:
        say(
            "Whoever has this address sees the picture, unencrypted, and browsers give their own camera to https pages "
            "and localhost only: put a TLS proxy in front, or forward the port by ssh -L."
        )
