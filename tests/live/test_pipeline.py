"""The net thread: its pictures are the engine's own, the newest frame is next, and controls act at once."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from live.helpers import SMALL, Broken, Inverter, SimulatedCamera, gray, new_session, running, wait_for
from nstopt import engines
from nstopt.bundle import Bundle
from nstopt.errors import NstoptError
from nstopt.live.controls import Change, Controls
from nstopt.live.pipeline import compose, net_size
from nstopt.live.sources import MovingPicture
from nstopt.manifest import InputShape
from nstopt.media.stylize import stylize
from nstopt.pictures.files import Picture
from nstopt.pictures.size import Size, Sizes


def test_pictures_are_the_engines_own(any_size_bundle: Bundle, tmp_path: Path) -> None:
    with engines.load(any_size_bundle.path) as engine:
        with running(new_session(tmp_path, engine)) as session:
            wait_for(lambda: session.pipeline.results.latest)
            shown = session.pipeline.results.latest
        assert shown
        assert shown.before.shape == (*SMALL, 3)
        assert (shown.picture == engine(shown.before)).all()


def test_the_newest_frame_is_next_and_no_delay_grows(tmp_path: Path) -> None:
    delay_s = 0.06
    source = MovingPicture(SMALL, fps=100.0)
    with running(new_session(tmp_path, Inverter(delay_s=delay_s), source=source)) as session:
        time.sleep(1.2)
        status = session.status()
    assert status.dropped > 60
    assert status.latency_ms < 5e3 * delay_s
    assert status.net_ms >= 1e3 * delay_s


def test_styles_change_without_a_gap(tmp_path: Path) -> None:
    slow = Inverter(delay_s=0.005)
    with running(new_session(tmp_path, Inverter(), slow)) as session, session.pipeline.results.subscribe() as results:
        times, names = [], []
        for number in range(30):
            if number == 10:
                session.change(Change(style="style 2"))
            shown = results.take(5)
            assert shown
            names.append(shown.style)
            times.append(time.monotonic())
    assert set(names[:10]) == {"style 1"}
    assert set(names[13:]) == {"style 2"}
    assert max(np.diff(times)) < 0.25


def test_an_engine_of_fixed_size_gets_the_whole_picture(tmp_path: Path) -> None:
    fixed = Inverter(InputShape.of(1, Size(64, 64)))
    with running(new_session(tmp_path, fixed)) as session:
        wait_for(lambda: session.pipeline.results.latest)
        shown = session.pipeline.results.latest
    assert shown
    assert shown.picture.shape == (48, 64, 3)
    assert (shown.picture == 255 - shown.before).all()
    with pytest.raises(NstoptError, match=r"style 1 has an engine of fixed size, .* build one with --dynamic"):
        session.change(Change(fps=30.0))


def test_an_engine_of_a_batch_gets_full_ones(tmp_path: Path) -> None:
    with running(new_session(tmp_path, Inverter(InputShape(3, Sizes())))) as session:
        wait_for(lambda: session.pipeline.results.latest)
        shown = session.pipeline.results.latest
    assert shown
    assert (shown.picture == 255 - shown.before).all()


def test_a_style_of_fixed_size_ends_the_governor(tmp_path: Path) -> None:
    with running(new_session(tmp_path, Inverter(), Inverter(InputShape.of(1, SMALL)))) as session:
        session.change(Change(fps=30.0))
        assert session.status().controls.fps == 30.0
        session.change(Change(style="style 2"))
        assert session.status().controls.fps is None


def test_the_governor_lowers_the_size(tmp_path: Path) -> None:
    class PerPixel(Inverter):
        def _infer(self, images: Picture, out: Picture) -> None:
            time.sleep(images.shape[1] * images.shape[2] / (SMALL.height * SMALL.width) * 0.04)
            super()._infer(images, out)

    with running(new_session(tmp_path, PerPixel(), source=MovingPicture(SMALL, 100.0))) as session:
        session.change(Change(fps=60.0))
        wait_for(lambda: (size := session.status().size) and size.height < SMALL.height)
        assert session.status().camera_size == SMALL


def test_a_device_that_fails_is_said_and_ends_the_viewers(tmp_path: Path) -> None:
    source = MovingPicture(SMALL, 50.0)
    with running(new_session(tmp_path, Broken(), source=source)) as session:
        wait_for(lambda: session.pipeline.error)
        assert session.status().notice == "the GPU is gone"


def test_an_engine_that_fails_at_once_is_an_error(tmp_path: Path) -> None:
    broken = Broken()
    broken.calls = 2
    with pytest.raises(NstoptError, match="the GPU is gone"):
        new_session(tmp_path, broken, source=SimulatedCamera([gray(1)])).start()


@pytest.mark.parametrize(("strength", "split", "left", "right"), [
    (1.0, 0.0, 200, 200), (0.0, 0.0, 100, 100), (0.5, 0.0, 150, 150), (1.0, 0.5, 100, 200), (0.5, 0.25, 100, 150),
])  # fmt: skip
def test_strength_and_split(strength: float, split: float, left: int, right: int) -> None:
    shown = compose(gray(100), gray(200), Controls("a", strength=strength, split=split))
    column = round((split or 1) * SMALL.width)
    assert set(shown[:, :column].ravel()) == {left}
    assert set(shown[:, column:].ravel()) <= {right}


@pytest.mark.parametrize(("sizes", "camera", "scale", "expected"), [
    (Sizes(), Size(480, 640), 1.0, Size(480, 640)),
    (Sizes(), Size(480, 640), 0.5, Size(240, 320)),
    (Sizes(), Size(33, 50), 1.0, Size(32, 48)),
    (Sizes(), Size(20, 4000), 0.25, Size(16, 1000)),
    (Sizes(Size(512, 512)), Size(480, 640), 1.0, Size(384, 512)),
    (Sizes(Size(360, 640), Size(720, 1280)), Size(1080, 1920), 1.0, Size(720, 1280)),
])  # fmt: skip
def test_sizes_of_the_net(sizes: Sizes, camera: Size, scale: float, expected: Size) -> None:
    assert net_size(sizes, camera, scale) == expected


def test_all_engines_run_before_it_is_ready(tmp_path: Path, any_size_bundle: Bundle) -> None:
    with engines.load(any_size_bundle.path) as engine, running(new_session(tmp_path, Inverter(), engine)) as session:
        session.change(Change(style="style 2"))
        wait_for(lambda: (shown := session.pipeline.results.latest) and shown.style == "style 2")
        shown = session.pipeline.results.latest
        assert shown
        assert (shown.picture == stylize(engine, shown.before)).all()
