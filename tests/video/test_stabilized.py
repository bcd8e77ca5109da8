"""Stabilized videos: segments that are done one by one, in one process or after an interruption, equal the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nstopt.bundle import Bundle
from nstopt.engines.smoothed import load_smoothed
from nstopt.video.pipeline import stylize_segment
from nstopt.video.plan import VideoJob, VideoPlan, plan_video
from nstopt.video.stabilized import StabilizedStylizer
from nstopt.video.stylize import stylize_video

from .clips import make_clip, pictures_of


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VideoPlan:
    monkeypatch.setattr("nstopt.video.segments.SEGMENT_FRAMES", 4)
    return plan_video(VideoJob(make_clip(tmp_path / "in.mp4", frames=10), tmp_path / "out.mp4"))


def stylizer(bundle: Bundle, strength: float = 0.7) -> StabilizedStylizer:
    return StabilizedStylizer(load_smoothed(bundle.path), bundle.path, strength)


def test_segments_equal_the_whole(plan: VideoPlan, any_size_bundle: Bundle, tmp_path: Path) -> None:
    stylize_video(plan, stylizer(any_size_bundle))
    state, pictures = b"", []
    for segment in plan.segments:
        path = tmp_path / f"{segment.number}{plan.encoding.suffix}"
        state = stylize_segment(plan, segment.number, stylizer(any_size_bundle), path, state).state
        pictures += pictures_of(path)
    whole = pictures_of(plan.job.target)
    assert len(whole) == len(pictures) == 10
    np.testing.assert_array_equal(whole, pictures)


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    plan: VideoPlan, any_size_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stylize_video(plan, stylizer(any_size_bundle))
    expected = pictures_of(plan.job.target)
    plan.job.target.unlink()
    broken = stylizer(any_size_bundle)
    submit, left = broken.submit, iter(range(7))

    def fail(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> object:
        if next(left, None) is None:
            raise RuntimeError("the power went out")
        return submit(picture)

    monkeypatch.setattr(broken, "submit", fail)
    with pytest.raises(RuntimeError, match="power"):
        stylize_video(plan, broken)
    assert stylize_video(plan, stylizer(any_size_bundle)).resumed == 4
    np.testing.assert_array_equal(pictures_of(plan.job.target), expected)


def test_the_strength_is_part_of_the_identity(any_size_bundle: Bundle) -> None:
    assert stylizer(any_size_bundle, 0.5).identity != stylizer(any_size_bundle, 0.7).identity
