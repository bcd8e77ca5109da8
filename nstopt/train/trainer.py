"""The training loop of all systems: batches, steps, logs, sample pictures, checkpoints, and resuming.

A system defines the module, the samples and the losses. All randomness in a training is a function of the seed and the
sample's number. So a checkpoint only needs the weights, the optimizer and the step, and a resumed training gives the
same bits as an uninterrupted one (on the same machine, with the same number of threads).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nstopt.errors import TrainingError
from nstopt.pictures.files import Picture
from nstopt.progress import Progress, Silent
from nstopt.train.checkpoint import Checkpoint, Stateful
from nstopt.train.log import TrainingLog
from nstopt.train.photos import to_picture
from nstopt.train.process import ProcessContext

Sample = tuple[Tensor, ...]
LOADERS = 4  # threads that prepare the next batch
SHOWN = 3  # samples in a sample picture


class System(ABC):
    """A module to train, with its samples and losses.

    `module` is on the process's device. `settings` are all options that the result depends on: they are saved with the
    net, and tell whether a checkpoint belongs to the same training.
    """

    module: nn.Module
    settings: Mapping[str, str]

    @abstractmethod
    def sample(self, number: int) -> Sample:
        """Return sample `number`, from 0, of an endless sequence, as CPU tensors; a function of the number alone."""

    @abstractmethod
    def losses(self, net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        """Compute the weighted terms whose sum is minimized, float32 scalars by name.

        `net` is `module`, possibly wrapped for several processes; `batch` holds the stacked samples.
        """

    @abstractmethod
    def paint(self, *batch: Tensor) -> list[Tensor]:
        """Return pictures [N, 3, H, W] in 0..255 for inspection, such as photographs and the module's output."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Return the net's weights by the names that `nstopt.nets` recognizes."""

    @abstractmethod
    def rate(self, step: int) -> float:
        """Return the learning rate of step `step`, from 1."""


@dataclass(frozen=True)
class TrainSpec:
    """Options of the training loop: `steps` steps of `batch` samples per process.

    `run` is the folder of the logs, sample pictures and checkpoint; the last two are written after every `every` steps
    and at the end. `amp` computes in half precision where that is safe: float16 on a GPU, bfloat16 on a CPU. `resume`
    continues from the checkpoint if there is one.
    """

    run: Path
    steps: int = 2000
    batch: int = 2
    every: int = 200
    amp: bool = False
    resume: bool = False

    def settings(self, system: System, place: ProcessContext) -> dict[str, str]:
        """Return all options that the result depends on, as text."""
        own = {"steps": str(self.steps), "batch": str(self.batch * place.world), "amp": str(self.amp)}
        return {**system.settings, **own}


def train(
    system: System,
    spec: TrainSpec,
    place: ProcessContext,
    progress: Progress | None = None,
    report: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, float]:
    """Train `system.module`; return the losses, averaged over the last hundred steps.

    `report` is called with the step and these losses whenever a checkpoint is written. Raises TrainingError if a loss
    becomes NaN or infinite, the run folder cannot be written, or its checkpoint may not or cannot be resumed;
    MediaError if a training picture cannot be read.
    """
    optimizer = torch.optim.Adam(system.module.parameters(), lr=system.rate(1))
    scaler = torch.amp.GradScaler(place.device.type, enabled=spec.amp and place.device.type == "cuda")
    parts: dict[str, Stateful] = {"module": system.module, "optimizer": optimizer, "scaler": scaler}
    checkpoint = Checkpoint(spec.run, spec.settings(system, place), parts)
    done = checkpoint.start(spec.resume, place.device)
    net = place.spread(system.module.train())
    with TrainingLog(spec.run if place.rank == 0 else None, done) as log, ThreadPoolExecutor(LOADERS) as loaders:
        batches = _batches(system, spec, place, done, loaders)
        steps = range(done + 1, spec.steps + 1)
        for step in (progress or Silent()).track(steps, len(steps), "training"):
            for group in optimizer.param_groups:
                group["lr"] = system.rate(step)
            with torch.autocast(place.device.type, enabled=spec.amp):
                terms = system.losses(net, *next(batches))
            optimizer.zero_grad()
            scaler.scale(torch.stack(list(terms.values())).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            values = place.mean(torch.stack([term.detach().float() for term in terms.values()])).tolist()
            log.losses(step, dict(zip(terms, _checked(values, step), strict=True)))
            if place.rank == 0 and (step % spec.every == 0 or step == spec.steps):
                log.picture(step, sample_picture(system, place.device))
                log.flush()
                checkpoint.save(step)
                if report:
                    report(step, log.last())
        return log.last()


def _checked(values: list[float], step: int) -> list[float]:
    if not all(map(math.isfinite, values)):
        raise TrainingError(f"the losses of step {step} are not finite ({values}): train with a lower --rate")
    return values


def _batches(
    system: System, spec: TrainSpec, place: ProcessContext, done: int, loaders: ThreadPoolExecutor
) -> Iterator[Sample]:
    """Yield this process's batches from step `done` + 1 on; each is prepared during the step before."""

    def request(step: int) -> list[Future[Sample]]:
        first = (step * place.world + place.rank) * spec.batch
        return [loaders.submit(system.sample, number) for number in range(first, first + spec.batch)]

    waiting = request(done)
    for step in range(done + 1, spec.steps + 1):
        samples = [future.result() for future in waiting]
        waiting = request(step) if step < spec.steps else []
        yield collate(samples, place.device)


def collate(samples: list[Sample], device: torch.device) -> Sample:
    """Stack samples to one batch on `device`."""
    return tuple(torch.stack(parts).to(device) for parts in zip(*samples, strict=True))


def sample_picture(system: System, device: torch.device) -> Picture:
    """Return the pictures of the first samples, uint8 [H, W, 3]: one row per sample, input and output side by side."""
    system.module.eval()
    with torch.no_grad():
        columns = system.paint(*collate([system.sample(number) for number in range(SHOWN)], device))
    system.module.train()
    return np.concatenate(
        [np.concatenate([to_picture(picture) for picture in column], axis=0) for column in columns], axis=1
    )


def warm_cosine(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of `step`, from 1: a linear warm-up to `peak`, then cosine annealing towards 0.

    The warm-up takes the first tenth of the steps. Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5.
    """
    warm = max(1, steps // 10)
    if step <= warm:
        return peak * step / warm
    return peak * (1 + math.cos(math.pi * (step - warm) / (steps - warm + 1))) / 2
