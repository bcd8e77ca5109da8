"""The governor against nets of a known cost."""

from __future__ import annotations

import itertools
import random

import pytest

from nstopt.live.governor import PATIENCE, SCALES, Governor


def run(governor: Governor, full_ms: float, frames: int, noise: float = 0.0) -> list[float]:
    """Let a net of `full_ms` at full size run; returns the scales."""
    scales, random_ = [], random.Random(0)
    for _ in range(frames):
        scale = governor.scale
        governor.observe(full_ms * scale**2 * (1 + noise * random_.uniform(-1, 1)), scale)
        scales.append(governor.scale)
    return scales


@pytest.mark.parametrize("full_ms", [10.0, 40.0, 80.0, 300.0])
def test_it_holds_the_rate_at_the_largest_size(full_ms: float) -> None:
    scale = run(Governor(30.0), full_ms, 200)[-1]
    assert full_ms * scale**2 <= 1000 / 30
    larger = [one for one in SCALES if one > scale]
    assert not larger or full_ms * larger[-1] ** 2 > 0.8 * 1000 / 30


def test_it_goes_down_at_once_and_up_again_slowly() -> None:
    governor = Governor(30.0)
    down = run(governor, 100.0, 40)
    assert down[12] < 0.6
    up = run(governor, 20.0, 400)
    waits = [len(list(same)) for _, same in itertools.groupby(up)]
    assert min(waits[1:-1]) >= PATIENCE
    assert up[-1] == 1.0


def test_it_does_not_swing() -> None:
    scales = run(Governor(30.0), 45.0, 2000, noise=0.1)
    assert len(set(scales[200:])) == 1


def test_it_ends_at_the_smallest_size() -> None:
    assert run(Governor(60.0), 5000.0, 100)[-1] == SCALES[-1]


def test_frames_from_before_a_change_do_not_count() -> None:
    governor = Governor(30.0)
    for _ in range(50):
        governor.observe(1000.0, 0.9)
    assert governor.scale == 1.0
