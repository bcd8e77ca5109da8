"""The page in a browser, with a real net: it shows the engine's pictures, and its controls do what they say.

With NSTOPT_SCREENSHOT=FILE, a picture of the page is written there: the one in the README.
"""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from browser import PHONE, as_phone, open_chromium
from conftest import Once
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from live.helpers import Inverter, quiet, still, wait_for
from live.serving import served
from nstopt import engines
from nstopt.engines.engine import Engine
from nstopt.live.controls import Controls
from nstopt.live.moving_picture import moving_picture
from nstopt.live.page.viewer import screenshot
from nstopt.live.pipeline import Style
from nstopt.live.session import Session
from nstopt.live.sources import Source
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size, Sizes
from nstopt.pipeline.build import build_engine
from nstopt.pipeline.spec import BuildSpec

SIZE = Size(360, 480)
HERE, OWN = moving_picture(SIZE, 1.0), moving_picture(SIZE, 4.0)
# The picture on the screen as a data address, in the size in which it was sent.
GRAB = """
const element = document.querySelector("#stage > :not([hidden])"), canvas = document.createElement("canvas");
canvas.width = element.videoWidth || element.naturalWidth;
canvas.height = element.videoHeight || element.naturalHeight;
if (!canvas.width || !canvas.height) return "";
canvas.getContext("2d").drawImage(element, 0, 0);
return canvas.toDataURL("image/png").split(",")[1];
"""
PLAY = """
const done = arguments[0], video = document.createElement("video");
video.muted = true; video.onended = () => done(video.videoWidth); video.onerror = () => done(video.error.message);
video.src = document.querySelector("#message a").href;
video.play();
"""


class Page(NamedTuple):
    """An open page, the session that it shows, the engine of its first style, and the folder of its downloads."""

    browser: webdriver.Chrome
    session: Session
    engine: Engine
    folder: Path

    def press(self, name: str) -> None:
        self.browser.find_element(By.ID, name).click()

    def text(self, name: str) -> str:
        return str(self.browser.find_element(By.ID, name).text)

    def slide(self, name: str, value: float) -> None:
        script = "const [id, value] = arguments; at(id).value = value; at(id).oninput()"
        self.browser.execute_script(script, name, value)

    def shown(self) -> Picture | None:
        """The picture on the screen, without the bar below it; None before it comes."""
        grabbed = str(self.browser.execute_script(GRAB))
        return (
            np.array(Image.open(io.BytesIO(base64.b64decode(grabbed))).convert("RGB"))[: SIZE.height]
            if grabbed
            else None
        )

    def shows(self, expected: Picture) -> bool:
        """Return True if the picture on the screen is `expected`, but for the codec's loss."""
        picture = self.shown()
        return picture is not None and picture.shape == expected.shape and distance(picture, expected) < 14


def distance(left: Picture, right: Picture) -> float:
    """Mean difference in gray levels."""
    return float(np.abs(left.astype(int) - right).mean())


def y4m(path: Path, picture: Picture) -> Path:
    """Write a picture as the file of Chromium's fake camera."""
    planes = av.VideoFrame.from_ndarray(picture, format="rgb24").to_ndarray(format="yuv420p").tobytes()
    head = f"YUV4MPEG2 W{picture.shape[1]} H{picture.shape[0]} F30:1 Ip A1:1 C420\n".encode()
    path.write_bytes(head + (b"FRAME\n" + planes) * 30)
    return path


@pytest.fixture(scope="module")
def starry(once: Once, realtime_onnx: Path, photos: Path) -> Iterator[Engine]:
    """The bundled net realtime_starry for any size."""

    def fill(folder: Path) -> None:
        val = folder / "val"
        val.mkdir()
        (val / "0.png").write_bytes((photos / "0.png").read_bytes())
        build_engine(BuildSpec(realtime_onnx, folder, folder / "starry.nst", sizes=Sizes(), val=val))

    with engines.load(once("starry", fill) / "starry.nst") as engine:
        yield engine


@pytest.fixture(scope="module")
def page(starry: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    styles = [Style("realtime_starry", starry), Style("inverted", Inverter())]

    def session_of(source: Source) -> Session:
        return Session(styles, Controls("realtime_starry"), source, folder, quiet)

    fake = y4m(folder / "camera.y4m", OWN)
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--window-size=1240,1160")
    with ExitStack() as stack:
        session = session_of(still(HERE))
        address = stack.enter_context(served(session, session_of))
        browser = stack.enter_context(open_chromium(folder, *flags, f"--use-file-for-fake-video-capture={fake}"))
        browser.get(address)
        yield Page(browser, session, starry, folder)
        assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_the_picture_is_the_engines(page: Page) -> None:
    wait_for(lambda: page.shows(page.engine(HERE)))
    assert distance(page.engine(HERE), HERE) > 40
    assert page.text("transport") == "WebRTC"
    wait_for(lambda: page.text("latency").endswith("ms") and page.text("fps").endswith("FPS"))
    assert page.text("size") == "360x480 of 360x480"
    assert page.text("notice") == ""
    if file := os.environ.get("NSTOPT_SCREENSHOT"):
        page.slide("split", 0.4)
        time.sleep(8)  # the graph fills
        Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("RGB").save(file, quality=85)
        page.slide("split", 0)
    loaded = page.browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert loaded == []


def test_styles_strength_and_split(page: Page) -> None:
    page.browser.find_element(By.CSS_SELECTOR, "[data-style=inverted]").click()
    wait_for(lambda: page.shows(255 - HERE))
    page.slide("split", 0.5)
    wait_for(lambda: page.shows(np.concatenate([HERE[:, :240], 255 - HERE[:, 240:]], axis=1)))
    page.slide("split", 0)
    page.slide("strength", 0)
    wait_for(lambda: page.shows(HERE))
    page.slide("strength", 1)
    page.browser.find_element(By.CSS_SELECTOR, "[data-style=realtime_starry]").click()
    wait_for(lambda: page.shows(page.engine(HERE)))


def test_a_screenshot_is_the_engines_picture_itself(page: Page) -> None:
    page.press("screenshot")
    wait_for(lambda: list(page.folder.glob("realtime_starry-*.png")))
    (file,) = page.folder.glob("realtime_starry-*.png")
    wait_for(lambda: file.stat().st_size == len(screenshot(page.session)))
    assert (np.array(Image.open(file)) == page.engine(HERE)).all()


def test_a_recording_plays(page: Page) -> None:
    page.press("record")
    wait_for(lambda: page.session._recording and page.session._recording.frames >= 10)
    wait_for(lambda: page.text("record") == "Stop recording")
    page.press("record")
    wait_for(lambda: page.text("message").startswith("Recorded: live-realtime_starry-"))
    assert page.browser.execute_async_script(PLAY) == SIZE.width


def test_the_size_follows_the_controls(page: Page) -> None:
    script = "at('scale').value = 0.5; at('scale').onchange()"
    page.browser.execute_script(script)
    wait_for(lambda: page.text("size") == "176x240 of 360x480")
    page.browser.execute_script(script.replace("0.5", "1"))
    wait_for(lambda: page.text("size") == "360x480 of 360x480")
    page.browser.execute_script("at('rate').value = 15; at('rate').onchange()")
    wait_for(lambda: page.session.pipeline.controls.fps == 15)
    wait_for(lambda: not page.browser.find_element(By.ID, "scale").is_enabled())
    page.browser.execute_script("at('rate').value = ''; at('rate').onchange()")


def test_the_browsers_own_camera(page: Page) -> None:
    page.press("browser")
    wait_for(lambda: page.shows(page.engine(OWN)))
    page.press("here")
    wait_for(lambda: page.shows(page.engine(HERE)))


def test_mjpeg_where_webrtc_finds_no_way(page: Page) -> None:
    page.browser.execute_script("fallBack()")
    wait_for(lambda: page.shows(page.engine(HERE)))
    assert page.text("transport").startswith("MJPEG")
    page.press("here")
    wait_for(lambda: page.text("transport") == "WebRTC" and page.shows(page.engine(HERE)))
    wait_for(lambda: len(page.session.pipeline.results._subscribed()) == 1)


def test_it_fits_a_phone(page: Page) -> None:
    as_phone(page.browser)
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
