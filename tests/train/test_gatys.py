"""Gatys: both optimizers reduce the loss, from either start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nstopt.errors import MediaError
from nstopt.train.gatys import GatysSpec, optimize

from .material import style, write_lossnet, write_pictures

CPU = torch.device("cpu")


def spec(folder: Path, **changes: object) -> GatysSpec:
    files: dict[str, object] = {
        "content": write_pictures(folder / "photos") / "1.png",
        "style": style(folder),
        "lossnet": write_lossnet(folder / "lossnet.npz"),
    }
    return GatysSpec(**({"steps": 12} | files | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("optimizer", "start"), [("adam", "content"), ("lbfgs", "content"), ("adam", "noise")])
def test_the_loss_falls(tmp_path: Path, optimizer: str, start: str) -> None:
    steps = list(optimize(spec(tmp_path, optimizer=optimizer, start=start), CPU))
    assert [step.number for step in steps] == list(range(1, 14))
    first, last = (sum(steps[index].losses.values()) for index in (0, -1))
    assert last < 0.6 * first
    assert (steps[0].losses["content"] == 0) == (start == "content")
    assert (steps[-1].rgb().shape, steps[-1].rgb().dtype.name) == ((40, 56, 3), "uint8")


def test_side_and_seed(tmp_path: Path) -> None:
    def last(**changes: object) -> torch.Tensor:
        return list(optimize(spec(tmp_path, steps=1, start="noise", side=32, **changes), CPU))[-1].picture

    assert last().shape == (1, 3, 32, 45)
    assert torch.equal(last(seed=3), last(seed=3))
    assert not torch.equal(last(seed=3), last(seed=4))


def test_a_missing_photograph(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such picture"):
        next(optimize(spec(tmp_path, content=tmp_path / "no.png"), CPU))
