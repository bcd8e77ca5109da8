"""The window, on SDL's screen without a screen: it shows the picture, and its keys do what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pygame
import pytest
from PIL import Image

from live.helpers import SMALL, Inverter, new_session, quiet, running, still
from nstopt.errors import DeviceError
from nstopt.live.session import Session
from nstopt.live.show import show
from nstopt.live.window import FIRST_SIZE, show_window
from nstopt.manifest import InputShape
from nstopt.pictures.files import read_picture


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def press(session: Session, said: list[str], keys: Sequence[int]) -> None:
    """Open the window, press keys, and close it by the last of them."""

    async def run() -> None:
        window = asyncio.create_task(show(session, [show_window(session, said.append)]))
        while not pygame.display.get_init() or not session.pipeline.results.latest:
            await asyncio.sleep(0.01)
        for key in keys:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
            await asyncio.sleep(0.05)
        await asyncio.wait_for(window, 10)

    asyncio.run(run())


def test_keys(tmp_path: Path) -> None:
    said: list[str] = []
    with running(new_session(tmp_path, Inverter(), Inverter(), say=said.append)) as session:
        keys = (
            pygame.K_2, pygame.K_RIGHT, pygame.K_RIGHT, pygame.K_DOWN, pygame.K_9, pygame.K_s, pygame.K_f,
            pygame.K_r, *[pygame.K_RIGHT] * 4, pygame.K_r, pygame.K_q,
        )  # fmt: skip
        press(session, said, keys)
        controls = session.pipeline.controls
    assert (controls.style, controls.split, controls.strength) == ("style 2", 0.6, 0.9)
    (picture,) = tmp_path.glob("live-style-2-*.png")
    (recording,) = tmp_path.glob("live-style-2-*.mp4")
    assert read_picture(picture).rgb.shape == (*SMALL, 3)
    assert [line.split(":")[0] for line in said] == [
        "keys",
        f"wrote {picture}",
        "That operation is not supported",  # full screen, without a screen
        f"recording {recording}",
        f"wrote {recording}",
    ]


def test_it_shows_the_picture_as_large_as_it_fits(tmp_path: Path) -> None:
    drawn: list[np.ndarray] = []

    async def look(session: Session) -> None:
        window = asyncio.create_task(show_window(session, quiet))
        while not drawn or not drawn[-1].any():
            await asyncio.sleep(0.02)
            if pygame.display.get_init() and (screen := pygame.display.get_surface()):
                drawn.append(pygame.surfarray.array3d(screen).swapaxes(0, 1))
        window.cancel()
        await asyncio.gather(window, return_exceptions=True)

    with running(new_session(tmp_path, source=still())) as session:
        asyncio.run(asyncio.wait_for(look(session), 10))
        shown = session.pipeline.results.latest
    assert shown
    small = np.asarray(Image.fromarray(drawn[-1]).resize((SMALL.width, SMALL.height), Image.Resampling.BOX))
    assert drawn[-1].shape == (FIRST_SIZE[1], FIRST_SIZE[0], 3)
    assert np.abs(small.astype(int) - shown.picture).mean() < 10


def test_a_key_that_cannot_be_obeyed_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "file").touch()
    with running(new_session(tmp_path / "file", Inverter(InputShape.of(1, SMALL)), say=said.append)) as session:
        press(session, said, (pygame.K_r, pygame.K_ESCAPE))
    assert "cannot be written" in said[-1]


def test_without_a_screen_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "none-such")
    with (
        running(new_session(tmp_path)) as session,
        pytest.raises(DeviceError, match=r"no window can be opened here .*: leave --window out and open the page"),
    ):
        asyncio.run(show(session, [show_window(session, quiet)]))
