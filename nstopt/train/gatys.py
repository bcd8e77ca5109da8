"""Stylize one picture by optimizing its pixels (Gatys, Ecker & Bethge 2016, doi:10.1109/CVPR.2016.265).

It serves as the preview of a style: it is much faster than training a net, and the result is similar.
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
from nstopt.train.load_lossnet import load_lossnet
from nstopt.train.objective import Objective, StyleSpec
from nstopt.train.photos import resize_shorter, to_picture, to_tensor

WHITE = 255.0  # the optimized pixels are in 0..1: the first step of L-BFGS is as long as the gradient
RATES = {"adam": 0.02, "lbfgs": 1.0}
NOISE = 30.0  # standard deviation of the initial noise around mid gray, in gray levels


@dataclass(frozen=True)
class GatysSpec:
    """The photograph, the style and the optimization.

    `content` is the photograph, `lossnet` as load_lossnet takes it. `optimizer` is adam or lbfgs; `start` is content or
    noise. `side` is the length of the result's shorter side in pixels; None keeps the photograph's.
    """

    content: Path
    style: StyleSpec
    lossnet: Path
    steps: int = 250
    optimizer: str = "adam"
    start: str = "content"
    side: int | None = None
    seed: int = 0


class Step(NamedTuple):
    """The picture before step `number`, from 1, float32 [1, 3, H, W] in 0..255, and its weighted losses."""

    number: int
    losses: dict[str, float]
    picture: Tensor

    def rgb(self) -> Picture:
        """Return the picture as uint8 [H, W, 3]."""
        return to_picture(self.picture[0])


def optimize(spec: GatysSpec, device: torch.device) -> Iterator[Step]:
    """Optimize the picture; yield the state before each step, and last the result.

    Raises CheckpointError if the loss network cannot be loaded, MediaError if a picture cannot be read, TrainingError
    if the pixels become NaN or infinite.
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
        if not terms:  # L-BFGS evaluates several times per step; the first is reported
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
