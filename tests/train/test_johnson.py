"""Training for a few steps: the loss falls, a seed repeats, and the file is a net that nstopt knows."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from nstopt.errors import CheckpointError, MediaError
from nstopt.nets import load_net
from nstopt.train.johnson import JohnsonSpec, Losses, train
from nstopt.train.save import mean_losses, save_net

from .material import spec


def run(spec: JohnsonSpec) -> tuple[dict[str, torch.Tensor], list[Losses]]:
    history: list[Losses] = []
    return train(spec, history.append), history


def test_the_loss_falls(tmp_path: Path) -> None:
    _, history = run(spec(tmp_path, steps=60, learning_rate=1e-2))
    assert [losses.step for losses in history] == list(range(1, 61))
    assert mean_losses(history[-5:]).total < 0.7 * mean_losses(history[:5]).total


def test_a_seed_fixes_the_weights(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    (first, _), (same, _), (other, _) = (run(spec(tmp_path, steps=3, seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["conv1.conv2d.weight"], other["conv1.conv2d.weight"])
    assert torch.equal(before, torch.get_rng_state())  # a caller's own randomness is left alone


def test_the_file_is_a_johnson_net_in_fp16(tmp_path: Path) -> None:
    trained = spec(tmp_path, steps=3)
    state, history = run(trained)
    path = tmp_path / "out" / "net.safetensors"
    save_net(path, state, trained, mean_losses(history))
    net = load_net(path)
    assert (net.family, net.widths, net.blocks) == ("johnson", (4, 6, 8), 1)
    with torch.no_grad():
        picture = net.module(torch.full((1, 3, 32, 48), 200.0))
    assert picture.shape == (1, 3, 32, 48)
    assert 0 < picture.mean() < 255  # the output's gain and grey level are in the weights
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__")
    assert {tensor["dtype"] for tensor in header.values()} == {"F16"}
    assert metadata["style"] == "0.png"
    assert (metadata["widths"], metadata["steps"], metadata["seed"]) == ("(4, 6, 8)", "3", "0")
    assert float(metadata["style_loss"]) == pytest.approx(mean_losses(history).style, rel=1e-4)
    assert str(tmp_path) not in str(metadata)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such picture"):
        run(JohnsonSpec(tmp_path / "no.png", spec(tmp_path).data, spec(tmp_path).lossnet))
    with pytest.raises(MediaError, match="no such folder"):
        run(JohnsonSpec(spec(tmp_path).style, tmp_path / "nowhere", spec(tmp_path).lossnet))
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        run(JohnsonSpec(spec(tmp_path).style, spec(tmp_path).data, tmp_path / "no.npz"))


def test_a_net_that_cannot_be_written(tmp_path: Path) -> None:
    state, losses = {"weight": torch.ones(2)}, Losses(1, 1.0, 1.0, 1.0)
    with pytest.raises(CheckpointError, match=r"ends so"):
        save_net(tmp_path / "net.pth", state, spec(tmp_path), losses)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_net(spec(tmp_path).style / "net.safetensors", state, spec(tmp_path), losses)
    with pytest.raises(CheckpointError, match="weight is not finite"):
        save_net(tmp_path / "net.safetensors", {"weight": torch.tensor([1e9])}, spec(tmp_path), losses)
    assert not (tmp_path / "net.safetensors").exists()
