"""Whole videos: times, sound and other tracks, sizes, orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nstopt.errors import MediaError

from .clips import make_clip, packets_of, pictures_of, times_of
from .conftest import Stylize


def test_frames_are_stylized_and_times_kept(tmp_path: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=150)
    result = stylize(source, tmp_path / "out.mp4", crf=4)
    assert (result.frames, result.resumed, result.damage, result.is_interrupted) == (150, 0, None, False)
    assert times_of(tmp_path / "out.mp4") == times_of(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    for before, after in zip(pictures_of(source), pictures_of(tmp_path / "out.mp4"), strict=True):
        assert np.abs(255 - before.astype(int) - after).mean() < 6


def test_a_variable_frame_rate_is_kept_exactly(tmp_path: Path, stylize: Stylize) -> None:
    steps = np.random.default_rng(0).integers(40, 3000, 149)
    times = [0, *np.cumsum(steps).tolist()]
    source = make_clip(tmp_path / "in.mp4", times=times, keys_every=250)
    stylize(source, tmp_path / "out.mp4")
    assert times_of(tmp_path / "out.mp4") == times_of(source)
    stylize(source, tmp_path / "out.mkv")
    found = np.array(times_of(tmp_path / "out.mkv"), float)
    np.testing.assert_allclose(found, np.array(times_of(source), float), atol=0.00051)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_copied(tmp_path: Path, stylize: Stylize, suffix: str) -> None:
    source = make_clip(tmp_path / f"in{suffix}", frames=75, sound=2)
    stylize(source, tmp_path / f"out{suffix}")
    before, after = (packets_of(tmp_path / f"{name}{suffix}", "audio") for name in ("in", "out"))
    assert len(before) == 2
    assert before[0] != before[1]
    assert before == after


def test_the_result_may_not_be_the_source(tmp_path: Path, stylize: Stylize) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=2)
    with pytest.raises(MediaError, match="would overwrite the video itself"):
        stylize(source, source)
