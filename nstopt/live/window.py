"""A window on this machine's screen, by SDL through pygame-ce, with keys for what the page has buttons for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # only the command line prints

import pygame

from nstopt.errors import DeviceError, NstoptError
from nstopt.live.controls import Change
from nstopt.live.reader import Reader
from nstopt.live.session import Session
from nstopt.live.shots import Stylized
from nstopt.live.slot import ClosedError
from nstopt.pictures.files import write_picture

FIRST_SIZE = (640, 480)
# Keys are looked for at least this often.
EVENTS_S = 0.02
STEP = 0.1
KEYS = (
    "keys: 1-9 style, left and right before/after, up and down strength, s screenshot, r record, f full screen, q quit"
)


async def show_window(session: Session, say: Callable[[str], None]) -> None:
    """Show a session until the window is closed. `say` gets lines. Raises DeviceError if there is no screen."""
    try:
        pygame.display.init()
        pygame.display.set_mode(FIRST_SIZE, pygame.RESIZABLE)
    except pygame.error as error:
        raise DeviceError(f"no window can be opened here ({error}): leave --window out and open the page") from error
    say(KEYS)
    drawing = asyncio.create_task(_draw(session))
    try:
        while not drawing.done() and _handle_events(session, say):
            await asyncio.sleep(EVENTS_S)
    finally:
        drawing.cancel()
        pygame.display.quit()


async def _draw(session: Session) -> None:
    try:
        with Reader(session.pipeline.results) as reader:
            while True:
                _draw_one(await reader.next())
                rates = session.status()
                pygame.display.set_caption(
                    f"nstopt live: {rates.controls.style}, {rates.fps:.1f} FPS, {rates.latency_ms:.0f} ms, {rates.size}"
                )
    except ClosedError:
        return


def _draw_one(shown: Stylized) -> None:
    """Draw a picture as large as it fits."""
    screen, (height, width) = pygame.display.get_surface(), shown.picture.shape[:2]
    if screen is None:
        return
    picture = pygame.image.frombuffer(shown.picture.tobytes(), (width, height), "RGB")
    fits = min(screen.get_width() / width, screen.get_height() / height)
    scaled = pygame.transform.smoothscale(picture, (round(width * fits), round(height * fits)))
    screen.fill("black")
    screen.blit(scaled, scaled.get_rect(center=screen.get_rect().center))
    pygame.display.flip()


def _handle_events(session: Session, say: Callable[[str], None]) -> bool:
    """Do what was pressed. Returns False if the window is to be closed."""
    for event in pygame.event.get():
        if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key in (pygame.K_q, pygame.K_ESCAPE)):
            return False
        if event.type == pygame.KEYDOWN:
            try:
                _press(event.key, session, say)
            except (NstoptError, pygame.error) as error:
                say(str(error))
    return True


def _press(key: int, session: Session, say: Callable[[str], None]) -> None:
    controls, names = session.pipeline.controls, list(session.pipeline.styles)
    if pygame.K_1 <= key < pygame.K_1 + min(len(names), 9):
        session.change(Change(style=names[key - pygame.K_1]))
    elif key in (pygame.K_LEFT, pygame.K_RIGHT):
        session.change(Change(split=_stepped(controls.split, key == pygame.K_RIGHT)))
    elif key in (pygame.K_DOWN, pygame.K_UP):
        session.change(Change(strength=_stepped(controls.strength, key == pygame.K_UP)))
    elif key == pygame.K_s and (shown := session.pipeline.results.latest):
        path = session.new_file(".png")
        write_picture(path, shown.picture)
        say(f"wrote {path}")
    elif key == pygame.K_r:
        if session.is_recording:
            session.stop_recording()
        else:
            say(f"recording {session.start_recording()}")
    elif key == pygame.K_f:
        pygame.display.toggle_fullscreen()


def _stepped(value: float, up: bool) -> float:
    return min(1.0, max(0.0, round(value + (STEP if up else -STEP), 2)))
