"""Gatys: one picture, made by optimizing its pixels (Gatys, Ecker & Bethge 2016, doi:10.1109/CVPR.2016.265).

The preview of a style: minutes less than training a net, and about what that will make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nstopt.errors import TrainingError
from nstopt.pictures.files import Picture, read_picture
from nstopt.train.lossnet import load_lossnet
from nstopt.train.objective import Objective, StyleSpec
from nstopt.train.photos import resize_shorter, to_rgb, to_tensor

WHITE = 255.0  # what is optimized is in 0..1: L-BFGS begins with a step as long as the gradient is large
RATES = {"adam": 0.02, "lbfgs": 1.0}
NOISE = 30.0  # deviation of the noise to start from, in gray levels around mid gray


@dataclass(frozen=True)
class GatysSpec:
    """The picture to make. `optimizer` is adam or lbfgs, `start` content or noise. `side` is the length in pixels of
    its shorter side; None keeps the photograph's own."""

    content: Path
    style: StyleSpec
    lossnet: Path
    steps: int = 250
    optimizer: str = "adam"
    start: str = "content"
    side: int | None = None
    seed: int = 0


class Step(NamedTuple):
    """The picture before step `number`, counted from 1, and its losses."""

    number: int
    losses: dict[str, float]
    picture: Tensor

    def rgb(self) -> Picture:
        """uint8 [H, W, 3]."""
        return to_rgb(self.picture[0])


def optimize(spec: GatysSpec, device: torch.device) -> Iterator[Step]:
    """Optimize the picture; the last item is the result, after all steps.

    Raises CheckpointError for a bad loss network, MediaError for a bad picture, TrainingError for losses that are no
    longer finite.
    """
    photo = read_picture(spec.content).rgb
    content = to_tensor(photo if spec.side is None else resize_shorter(photo, spec.side))[None].to(device)
    objective = Objective(spec.style, load_lossnet(spec.lossnet), device)
    pixels = (_start(spec, content) / WHITE).requires_grad_()
    optimizer = _optimizer(spec, pixels)
    terms: dict[str, Tensor] = {}

    def evaluate() -> float:
        optimizer.zero_grad()
        found = objective(pixels * WHITE, content)
        loss = torch.stack(list(found.values())).sum()
        loss.backward()
        if not terms:  # L-BFGS evaluates again on its way; a step is reported as it began
            terms.update(found)
        return loss.item()

    def step(number: int, picture: Tensor) -> Step:
        return Step(number, {name: term.item() for name, term in terms.items()}, picture * WHITE)

    for number in range(1, spec.steps + 1):
        terms.clear()
        before = pixels.detach().clone()
        loss = optimizer.step(evaluate)
        if not torch.isfinite(pixels).all():
            raise TrainingError(f"the picture is no longer finite after step {number} (loss {loss:g}): use adam")
        with torch.no_grad():
            pixels.clamp_(0, 1)
        yield step(number, before)
    terms.clear()
    evaluate()
    yield step(spec.steps + 1, pixels.detach())


def _start(spec: GatysSpec, content: Tensor) -> Tensor:
    if spec.start == "content":
        return content.clone()
    noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(spec.seed))
    return (127.5 + NOISE * noise).clamp(0, 255).to(content.device)


def _optimizer(spec: GatysSpec, pixels: Tensor) -> torch.optim.Optimizer:
    if spec.optimizer == "lbfgs":
        return torch.optim.LBFGS([pixels], RATES["lbfgs"], max_iter=1, line_search_fn="strong_wolfe")
    return torch.optim.Adam([pixels], RATES["adam"])
