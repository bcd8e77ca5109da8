"""A real engine that inverts pictures, and a short way to stylize a clip with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Once
from made import build_inverter

import nstopt
from nstopt.engines.engine import Engine
from nstopt.video.plan import VideoJob, plan_video
from nstopt.video.stylize import VideoResult, stylize_video
from nstopt.video.stylizer import EngineStylizer

Stylize = Callable[..., VideoResult]


@pytest.fixture(scope="session")
def inverter_bundle(once: Once) -> Path:
    """The OpenVINO bundle of a graph that inverts pictures of any size."""
    return once("inverter", lambda folder: build_inverter(folder)) / "tiny.nst"


@pytest.fixture(scope="module")
def engine(inverter_bundle: Path) -> Iterator[Engine]:
    with nstopt.load(inverter_bundle) as engine:
        yield engine


@pytest.fixture
def stylize(engine: Engine, inverter_bundle: Path) -> Stylize:
    """Stylizes SOURCE to TARGET; keyword arguments are those of VideoJob."""

    def run(source: Path, target: Path, **options: object) -> VideoResult:
        plan = plan_video(VideoJob(source, target, **options))  # type: ignore[arg-type]
        return stylize_video(plan, EngineStylizer(engine, inverter_bundle))

    return run
