"""Trains a Johnson net to one style (Johnson et al. 2016, arXiv:1603.08155)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nstopt.nets import johnson
from nstopt.nets.layout import Plan
from nstopt.pictures import read_picture
from nstopt.train.losses import content_loss, gram, style_loss, total_variation
from nstopt.train.lossnet import LossNet, load_lossnet
from nstopt.train.photos import Crops, resize_shorter, to_tensor

CONTENT_STAGE = 3  # the fourth: objects and edges, but no colours and textures
GREY = 127.5
OUTPUT_GAIN = 64.0  # grey levels; about the spread of a picture, so that the untrained net starts near the trained one


@dataclass(frozen=True)
class JohnsonSpec:
    """What to train. `style_side` is the length in pixels of the style picture's shorter side: it sets how large the
    strokes become; `crop` the side of the pieces of photographs to train on.
    """

    style: Path
    data: Path
    lossnet: Path
    widths: tuple[int, int, int] = (16, 32, 48)
    blocks: int = 2
    steps: int = 2000
    batch: int = 2
    crop: int = 256
    style_side: int = 512
    learning_rate: float = 2e-3
    content_weight: float = 1.0
    style_weight: float = 1.0
    variation_weight: float = 1e-4
    seed: int = 0


@dataclass(frozen=True)
class Losses:
    """The weighted losses of one step, counted from 1."""

    step: int
    content: float
    style: float
    variation: float

    @property
    def total(self) -> float:
        """What the step made smaller."""
        return self.content + self.style + self.variation


def train(spec: JohnsonSpec, on_step: Callable[[Losses], None]) -> dict[str, Tensor]:
    """A trained net's float32 weights by the names of the layout that `nstopt.nets.johnson` recognises.

    The same spec gives the same weights on the same machine and number of threads. Raises CheckpointError for a bad
    loss network, MediaError for a bad style picture or folder of photographs.
    """
    lossnet = load_lossnet(spec.lossnet)
    objective = _Objective(spec, lossnet)
    crops = Crops(spec.data, spec.crop, spec.seed)
    plan = johnson.design(spec.widths, spec.blocks)
    net = _initialised(plan.module, spec.seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=spec.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, spec.learning_rate, spec.steps + 1, pct_start=0.1)
    for step in range(1, spec.steps + 1):
        photos = crops.batch(spec.batch)
        content, style, variation = objective(net(photos) * OUTPUT_GAIN + GREY, photos)
        optimizer.zero_grad()
        (content + style + variation).backward()
        optimizer.step()
        schedule.step()
        on_step(Losses(step, content.item(), style.item(), variation.item()))
    return _weights(plan, net)


class _Objective:
    """The weighted losses of stylised pictures against the photographs that they were made from."""

    def __init__(self, spec: JohnsonSpec, lossnet: LossNet) -> None:
        self._spec, self._lossnet = spec, lossnet
        style = resize_shorter(read_picture(spec.style).rgb, spec.style_side)
        with torch.no_grad():
            self._grams = [gram(features) for features in lossnet(to_tensor(style[None]))]
        # Stages differ in the size of their Gram matrices by orders of magnitude. Dividing by it lets all count alike.
        self._scales = [spec.style_weight / len(self._grams) / g.square().sum().item() for g in self._grams]

    def __call__(self, stylised: Tensor, photos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Content, style and total variation."""
        features = self._lossnet(stylised)
        with torch.no_grad():
            wanted = self._lossnet(photos)[CONTENT_STAGE]
        content = self._spec.content_weight * content_loss(features[CONTENT_STAGE], wanted)
        terms = zip(features, self._grams, self._scales, strict=True)
        style = torch.stack([scale * style_loss(stage, target) for stage, target, scale in terms]).sum()
        return content, style, self._spec.variation_weight * total_variation(stylised)


def _initialised(module: nn.Module, seed: int) -> nn.Module:
    """`module`, given storage and PyTorch's usual random weights."""
    net = module.to_empty(device="cpu").train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.InstanceNorm2d):
                layer.reset_parameters()
    return net


def _weights(plan: Plan, net: nn.Module) -> dict[str, Tensor]:
    """The weights by the layout's names, with the output's gain and grey in the last convolution."""
    state = {name: tensor.detach().clone() for name, tensor in zip(plan.names, net.state_dict().values(), strict=True)}
    last_weight, last_bias = plan.names[-2:]
    state[last_weight] *= OUTPUT_GAIN
    state[last_bias] = state[last_bias] * OUTPUT_GAIN + GREY
    return state
