"""The training loop: logs, bit-exact resuming, several processes, half precision."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nstopt.errors import DeviceError, MediaError, TrainingError
from nstopt.train.johnson import Johnson
from nstopt.train.process import ProcessContext, join_processes
from nstopt.train.trainer import TrainSpec, train, warm_cosine

from .material import CPU, johnson, johnson_spec, totals_in


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_losses_and_sample_pictures_are_logged(tmp_path: Path) -> None:
    reported: list[int] = []
    run = tmp_path / "run"
    last = train(johnson(tmp_path), TrainSpec(run, 5, every=2), CPU, report=lambda step, _: reported.append(step))
    rows = (run / "losses.csv").read_text().splitlines()
    assert rows[0] == "step,total,content,style,variation"
    assert [int(row.split(",")[0]) for row in rows[1:]] == [1, 2, 3, 4, 5]
    assert last["total"] == pytest.approx(sum(totals_in(run)) / 5, rel=1e-5)
    assert reported == [2, 4, 5]
    assert [path.name for path in sorted((run / "samples").iterdir())] == ["000002.png", "000004.png", "000005.png"]
    assert list(run.glob("events.out.tfevents.*"))


class StopError(Exception):
    """A simulated kill: no code of the training runs after it."""


def stop_at(wanted: int, step: int) -> None:
    if step == wanted:
        raise StopError


def test_a_resumed_training_gives_the_same_bits(tmp_path: Path) -> None:
    whole = johnson(tmp_path, steps=4)
    train(whole, TrainSpec(tmp_path / "whole", 4, every=2), CPU)
    first = johnson(tmp_path, steps=4)
    spec = TrainSpec(tmp_path / "stopped", 4, every=2, resume=True)
    real, calls = first.losses, []

    def losses(net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        calls.append(1)
        stop_at(4, len(calls))  # in the fourth step, when the third is logged but not in a checkpoint
        return real(net, *batch)

    first.losses = losses  # type: ignore[method-assign]
    with pytest.raises(StopError):
        train(first, spec, CPU)
    second = johnson(tmp_path, steps=4)
    train(second, spec, CPU)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole.module), weights(second.module), strict=True))
    logs = [(tmp_path / name / "losses.csv").read_bytes() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_a_killed_process_leaves_an_intact_checkpoint(tmp_path: Path) -> None:
    johnson(tmp_path)  # writes the training's files
    script = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
import torch
from train.material import CPU, johnson
from nstopt.train.trainer import TrainSpec, train
torch.set_num_threads(1)
folder = Path({str(tmp_path)!r})
def report(step, losses):
    if step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
train(johnson(folder, steps=3), TrainSpec(folder / "killed", 3, every=1), CPU, report=report)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == -9, done.stderr
    killed, whole = johnson(tmp_path, steps=3), johnson(tmp_path, steps=3)
    train(killed, TrainSpec(tmp_path / "killed", 3, every=1, resume=True), CPU)
    train(whole, TrainSpec(tmp_path / "whole", 3, every=1), CPU)
    assert all(torch.equal(a, b) for a, b in zip(weights(killed.module), weights(whole.module), strict=True))


def test_refused_and_finished_checkpoints(tmp_path: Path) -> None:
    system, spec = johnson(tmp_path, steps=2), TrainSpec(tmp_path / "run", 2)
    last = train(system, spec, CPU)
    with pytest.raises(TrainingError, match="give --resume"):
        train(johnson(tmp_path, steps=2), spec, CPU)
    resumed = replace(spec, resume=True)
    again = johnson(tmp_path, steps=2)
    assert train(again, resumed, CPU) == pytest.approx(last, rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(weights(system.module), weights(again.module), strict=True))
    with pytest.raises(TrainingError, match=r"has other settings.*seed was 0, is 1"):
        train(johnson(tmp_path, steps=2, seed=1), resumed, CPU)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="remove it to start from the beginning"):
        train(johnson(tmp_path, steps=2), resumed, CPU)
    torch.save({"weight": torch.ones(1)}, checkpoint)
    with pytest.raises(TrainingError, match="is not a training's checkpoint"):
        train(johnson(tmp_path, steps=2), resumed, CPU)


def test_a_diverging_training_stops(tmp_path: Path) -> None:
    system = johnson(tmp_path, steps=4)
    with torch.no_grad():
        next(iter(system.module.parameters())).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 are not finite.*lower --rate"):
        train(system, TrainSpec(tmp_path / "run", 4), CPU)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_an_unreadable_photograph_is_named(tmp_path: Path) -> None:
    system = johnson(tmp_path, steps=4)
    (tmp_path / "photos" / "0.png").write_text("none")
    with pytest.raises(MediaError, match=r"0\.png: not a picture"):
        train(system, TrainSpec(tmp_path / "run", 4), CPU)


def test_the_loss_falls_in_half_precision(tmp_path: Path) -> None:
    system = johnson(tmp_path, steps=16, peak_rate=2e-2)
    train(system, TrainSpec(tmp_path / "amp", 16, amp=True), CPU)
    totals = totals_in(tmp_path / "amp")
    assert sum(totals[-4:]) < 0.9 * sum(totals[:4])
    assert {parameter.dtype for parameter in system.module.parameters()} == {torch.float32}
    plain = johnson(tmp_path, steps=1)
    train(plain, TrainSpec(tmp_path / "plain", 1), CPU)
    assert totals_in(tmp_path / "plain")[0] != totals[0]  # full precision gives another loss


# Rank 1; the test is rank 0.
WORKER = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
import torch
from train.material import johnson_spec
from nstopt.train.johnson import Johnson
from nstopt.train.process import join_processes
from nstopt.train.trainer import TrainSpec, train
torch.set_num_threads(1)
folder = Path({folder!r})
with join_processes("cpu") as place:
    system = Johnson(johnson_spec(folder, steps=3), place)
    train(system, TrainSpec(folder / "shared", 3, batch=1), place)
    torch.save(system.module.state_dict(), folder / "rank1.pth")
"""


def test_two_processes_train_like_one_of_twice_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(johnson(tmp_path, steps=3), TrainSpec(tmp_path / "alone", 3, batch=2), CPU)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # The variables that torchrun sets.
    variables = {"WORLD_SIZE": 2, "RANK": 0, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("torch.distributed.distributed_c10d.default_pg_timeout", timedelta(minutes=5))
    script = WORKER.format(path=sys.path, folder=str(tmp_path))
    environment = {**os.environ, "RANK": "1", "LOCAL_RANK": "1"}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True) as worker:
        with join_processes("cpu") as place:
            system = Johnson(johnson_spec(tmp_path, steps=3), place)
            train(system, TrainSpec(tmp_path / "shared", 3, batch=1), place)
        errors = worker.communicate(timeout=300)[1]
    assert worker.returncode == 0, errors
    other = torch.load(tmp_path / "rank1.pth", weights_only=True)
    assert all(torch.equal(own, other[name]) for name, own in system.module.state_dict().items())
    together, single = (totals_in(tmp_path / run) for run in ("shared", "alone"))
    # Losses, not weights: the gradients of biases before a norm are rounding errors.
    assert together == pytest.approx(single, rel=1e-3)
    assert single[0] != pytest.approx(single[2], rel=1e-2)


def test_a_missing_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DeviceError, match="train on --device cpu"), join_processes("cuda"):
        pass
    with join_processes("auto") as place:
        assert place == ProcessContext(torch.device("cpu"))


def test_warm_cosine_rises_and_falls() -> None:
    rates = [warm_cosine(step, 100, 2.0) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == max(rates) == pytest.approx(2.0)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.01
