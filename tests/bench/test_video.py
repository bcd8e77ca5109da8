"""The stages of a video through real engines."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import MakeBundle
from rich.console import Console
from video.clips import make_clip

from nstopt.bench import video
from nstopt.bench.video import StageTime, VideoTiming, time_video
from nstopt.cli.render.video import video_table


def test_every_stage_is_timed(tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "ROUNDS", 1)
    monkeypatch.setattr(video, "WHOLE_S", 0.1)
    clip = make_clip(tmp_path / "in.mp4", frames=70)
    found = time_video([make_bundle("one"), make_bundle("two")], clip)
    assert {one.engine for one in found} == {"one", "two"}
    assert len({(one.engine, one.streams) for one in found}) == len(found) >= 2
    for one in found:
        assert all(stage.fps > 0 and stage.cpu_ms >= 0 for stage in (one.decode, one.net, one.encode, one.whole))


def test_the_limits_of_the_whole() -> None:
    timing = VideoTiming("wave", 2, 2, StageTime(500, 2), StageTime(10, 190), StageTime(100, 8), StageTime(9, 200))
    assert (timing.slowest_fps, timing.cores_fps) == (10, 10)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(video_table("clip.mp4", [timing]))
    row = capture.get().splitlines()[1].split()
    assert row == ["wave", "2", "500.0", "10.0", "100.0", "9.0", "90%", "200.0", "90%"]
