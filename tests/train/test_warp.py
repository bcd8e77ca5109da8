"""Warped pairs of frames: their flow is exact, and the batched warp equals that of flow.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nstopt.pictures import flow
from nstopt.train import warp
from nstopt.train.warp import WarpedPairs, random_flow, warp_batch

from .material import write_pictures


def test_the_flow_leads_to_the_previous_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp, "NOISE", 0.0)
    monkeypatch.setattr(warp, "LIGHT", 0.0)
    pair = WarpedPairs(write_pictures(tmp_path), 32, seed=0)[3]
    back = flow.warp(pair.before, pair.flow)
    assert np.abs(back - pair.frame)[pair.visible].max() <= 0.51  # rounding
    assert np.abs(pair.frame.astype(float) - pair.before).mean() > 1  # something moves
    assert 0.7 < pair.visible.mean() < 1


def test_a_pair_depends_on_the_seed_and_its_number(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    first, same, other = (WarpedPairs(tmp_path, 32, seed) for seed in (1, 1, 2))
    assert first[4].frame.tobytes() == same[4].frame.tobytes()
    assert np.array_equal(first[4].flow, same[4].flow)
    assert not np.array_equal(first[4].flow, other[4].flow)
    assert not np.array_equal(first[4].flow, first[5].flow)


def test_light_and_noise_change_the_frames(tmp_path: Path) -> None:
    pairs = WarpedPairs(write_pictures(tmp_path), 32, seed=0)
    ratios = [pairs[number].frame.mean() / pairs[number].before.mean() for number in range(12)]
    assert 0.02 < np.std(ratios) < 0.15


def test_random_flows_are_smooth() -> None:
    found = random_flow(64, np.random.default_rng(0))
    assert (found.shape, found.dtype.name) == ((2, 64, 64), "float32")
    assert np.abs(np.diff(found, axis=2)).max() < 0.4
    assert np.abs(found).max() < 10


def test_warp_batch_equals_flow_warp() -> None:
    random = np.random.default_rng(0)
    pictures = random.uniform(0, 255, (2, 16, 20, 3)).astype(np.float32)
    flows = random.normal(0, 2, (2, 2, 16, 20)).astype(np.float32)
    expected = np.stack([flow.warp(picture, one) for picture, one in zip(pictures, flows, strict=True)])
    got = warp_batch(torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.from_numpy(flows))
    np.testing.assert_allclose(got.permute(0, 2, 3, 1).numpy(), expected, atol=0.02)


def test_warp_batch_scales_the_flow_to_smaller_features() -> None:
    features = torch.arange(8.0).expand(1, 1, 4, 8)
    moved = warp_batch(features, torch.cat([torch.full((1, 1, 16, 32), 4.0), torch.zeros(1, 1, 16, 32)], dim=1))
    torch.testing.assert_close(moved[0, 0, 0], torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 7]))
