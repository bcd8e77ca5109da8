"""The gain and the cost of stabilizing, for each strength."""

from __future__ import annotations

from pathlib import Path

from train.test_systems import write_clip

from nstopt.bundle import Bundle
from nstopt.media.flicker import measure
from nstopt.media.stabilized_flicker import measure_stabilized


def test_each_strength_is_measured(any_size_bundle: Bundle, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clips" / "a.mp4", count=5)
    plain, half, full = measure_stabilized([any_size_bundle.path], clip, [0, 0.5, 1])
    _, (name, ordinary) = measure([any_size_bundle.path], clip)
    assert (plain.name, plain.strength, plain.flicker, plain.psnr_db) == (name, 0, ordinary, 100)
    assert plain.flicker.e_warp > half.flicker.e_warp > full.flicker.e_warp
    assert 100 > half.psnr_db > full.psnr_db > 15
    assert min(one.latency_ms for one in (plain, half, full)) > 0
