"""The loop: the loss falls, a stopped training goes on bit by bit, processes share the work, half precision works."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nstopt.errors import MediaError, TrainingError
from nstopt.train.process import ProcessContext, join_processes
from nstopt.train.trainer import train, warm_cosine

from .material import CPU, johnson, train_spec


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_the_loss_falls_and_is_logged(tmp_path: Path) -> None:
    told: list[int] = []
    system = johnson(tmp_path, steps=40, peak_rate=1e-2)
    last = train(system, train_spec(tmp_path / "run", 40, every=20), CPU, report=lambda step, _: told.append(step))
    rows, totals = (tmp_path / "run" / "losses.csv").read_text().splitlines(), losses_in(tmp_path / "run")
    assert rows[0] == "step,total,content,style,variation"
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(1, 41))
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])
    assert last["total"] == pytest.approx(sum(totals) / 40, rel=1e-5)
    assert told == [20, 40]
    assert [path.name for path in sorted((tmp_path / "run" / "samples").iterdir())] == ["000020.png", "000040.png"]
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def losses_in(run: Path) -> list[float]:
    """The totals of the steps."""
    return [float(row.split(",")[1]) for row in (run / "losses.csv").read_text().splitlines()[1:]]


class StopError(Exception):
    """Stands for a kill: nothing of the training runs after it."""


def stop_at(wanted: int, step: int) -> None:
    if step == wanted:
        raise StopError


def test_a_stopped_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole = johnson(tmp_path, steps=6)
    train(whole, train_spec(tmp_path / "whole", 6, every=2), CPU)
    first = johnson(tmp_path, steps=6)
    spec = train_spec(tmp_path / "stopped", 6, every=2, resume=True)
    real, calls = first.losses, []

    def losses(net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        calls.append(1)
        stop_at(6, len(calls))  # in the sixth step, when the fifth is logged but not in a checkpoint
        return real(net, *batch)

    first.losses = losses  # type: ignore[method-assign]
    with pytest.raises(StopError):
        train(first, spec, CPU)
    second = johnson(tmp_path, steps=6)
    train(second, spec, CPU)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole.module), weights(second.module), strict=True))
    logs = [(tmp_path / name / "losses.csv").read_bytes() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_a_killed_process_leaves_a_checkpoint_that_is_whole(tmp_path: Path) -> None:
    johnson(tmp_path)  # writes the files
    script = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
import torch
from train.material import CPU, johnson, train_spec
from nstopt.train.trainer import train
torch.set_num_threads(1)
folder = Path({str(tmp_path)!r})
def report(step, losses):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train(johnson(folder, steps=5), train_spec(folder / "killed", 5, every=1), CPU, report=report)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    killed, whole = johnson(tmp_path, steps=5), johnson(tmp_path, steps=5)
    train(killed, train_spec(tmp_path / "killed", 5, every=1, resume=True), CPU)
    train(whole, train_spec(tmp_path / "whole", 5, every=1), CPU)
    assert all(torch.equal(a, b) for a, b in zip(weights(killed.module), weights(whole.module), strict=True))


def test_a_checkpoint_is_neither_overwritten_nor_taken_for_another(tmp_path: Path) -> None:
    train(johnson(tmp_path, steps=2), train_spec(tmp_path / "run", 2), CPU)
    with pytest.raises(TrainingError, match="give --resume"):
        train(johnson(tmp_path, steps=2), train_spec(tmp_path / "run", 2), CPU)
    with pytest.raises(TrainingError, match=r"of another training.*seed was 0, is 1"):
        train(johnson(tmp_path, steps=2, seed=1), train_spec(tmp_path / "run", 2, resume=True), CPU)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="remove it to start from the beginning"):
        train(johnson(tmp_path, steps=2), train_spec(tmp_path / "run", 2, resume=True), CPU)
    torch.save({"weight": torch.ones(1)}, checkpoint)
    with pytest.raises(TrainingError, match="is no checkpoint of a training"):
        train(johnson(tmp_path, steps=2), train_spec(tmp_path / "run", 2, resume=True), CPU)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    system = johnson(tmp_path, steps=3)
    last = train(system, train_spec(tmp_path / "run", 3), CPU)
    again = johnson(tmp_path, steps=3)
    assert train(again, train_spec(tmp_path / "run", 3, resume=True), CPU) == pytest.approx(last, rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(weights(system.module), weights(again.module), strict=True))


def test_a_diverging_training_stops(tmp_path: Path) -> None:
    system = johnson(tmp_path, steps=4)
    with torch.no_grad():
        next(iter(system.module.parameters())).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"step 1 are not finite.*lower --rate"):
        train(system, train_spec(tmp_path / "run", 4), CPU)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_an_unreadable_photograph_is_named(tmp_path: Path) -> None:
    system = johnson(tmp_path, steps=4)
    (tmp_path / "photos" / "0.png").write_text("none")
    with pytest.raises(MediaError, match=r"0\.png: not a picture"):
        train(system, train_spec(tmp_path / "run", 4), CPU)


def test_half_precision_trains_too(tmp_path: Path) -> None:
    system = johnson(tmp_path, steps=40, peak_rate=1e-2)
    train(system, train_spec(tmp_path / "amp", 40, amp=True), CPU)
    totals = losses_in(tmp_path / "amp")
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])
    assert {parameter.dtype for parameter in system.module.parameters()} == {torch.float32}
    plain = johnson(tmp_path, steps=1)
    train(plain, train_spec(tmp_path / "plain", 1), CPU)
    assert losses_in(tmp_path / "plain")[0] != totals[0]  # it was computed otherwise


def test_two_processes_train_as_one_of_twice_the_batch(tmp_path: Path) -> None:
    alone = johnson(tmp_path, steps=3)
    train(alone, train_spec(tmp_path / "alone", 3, batch=2), CPU)
    script = tmp_path / "worker.py"
    script.write_text(
        f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
import torch
from train.material import johnson_spec, train_spec
from nstopt.train.johnson import Johnson
from nstopt.train.process import join_processes
from nstopt.train.trainer import train
torch.set_num_threads(1)
folder = Path({str(tmp_path)!r})
with join_processes("cpu") as place:
    system = Johnson(johnson_spec(folder, steps=3), place)
    train(system, train_spec(folder / "shared", 3, batch=1), place)
    torch.save(system.module.state_dict(), folder / f"rank{{place.rank}}.pth")
"""
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # What torchrun sets, without the process that it is itself.
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script)], env={**shared, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE
        )
        for rank in ("0", "1")
    ]
    try:
        errors = [process.communicate(timeout=60)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    ranks = [torch.load(tmp_path / f"rank{rank}.pth", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])
    together, single = (losses_in(tmp_path / run) for run in ("shared", "alone"))
    assert together == pytest.approx(single, rel=1e-3)  # not the weights: those before a norm follow rounding alone
    assert single[0] != pytest.approx(single[2], rel=1e-2)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from nstopt.errors import DeviceError

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
