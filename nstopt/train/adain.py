"""Train AdaIN: a decoder for any style, which is baked in at export (Huang & Belongie 2017, arXiv:1703.06868)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nstopt.errors import CheckpointError
from nstopt.nets import adain
from nstopt.nets.checkpoint import read_state_dict
from nstopt.nets.layout import State
from nstopt.train.initialize import initialized
from nstopt.train.losses import content_loss, mean_std_loss
from nstopt.train.photos import Crops, to_tensor
from nstopt.train.process import ProcessContext
from nstopt.train.save import settings_of
from nstopt.train.trainer import Sample, System, TrainSpec

VGG_URL = "https://github.com/naoto0804/pytorch-AdaIN/releases"
STYLE_SEED = 1_000_003  # photographs and styles must not be paired in the same way in each round


@dataclass(frozen=True)
class AdainTrainSpec(TrainSpec):
    """TrainSpec with AdaIN's defaults: pytorch-AdaIN's steps and batch."""

    steps: int = 160_000
    batch: int = 8
    every: int = 1000


@dataclass(frozen=True)
class AdainSpec:
    """Training data, losses and learning rate of an AdaIN decoder.

    The decoder inverts the features of `vgg`. It is trained on the photographs in the folder `data` and the pictures in
    the folder `style_dir`, cut to squares of `crop` pixels. `style_weight` is the paper's lambda; the learning rate of
    step i is peak_rate / (1 + decay * i).
    """

    data: Path
    style_dir: Path
    vgg: Path
    steps: int = AdainTrainSpec.steps
    crop: int = 256
    style_weight: float = 10.0
    peak_rate: float = 1e-4
    decay: float = 5e-5
    seed: int = 0


class Adain(System):
    """Training of a decoder in pytorch-AdaIN's layout.

    Raises CheckpointError if the VGG is missing or does not fit, MediaError if a folder holds no pictures.
    """

    def __init__(self, spec: AdainSpec, place: ProcessContext) -> None:
        self._spec = spec
        state = _read_vgg(spec.vgg)
        encoder = adain.encoder_blueprint(state)
        self._encoder = _Stages(encoder.fill(state)).to(place.device)
        self._photos = Crops(spec.data, spec.crop, spec.seed)
        self._styles = Crops(spec.style_dir, spec.crop, spec.seed + STYLE_SEED)
        self._blueprint = adain.design(encoder)
        self.module = initialized(self._blueprint.module, spec.seed, place.device)
        self.settings: Mapping[str, str] = {"family": adain.NAME, **settings_of(spec)}

    def sample(self, number: int) -> Sample:
        """Return a photograph and a style picture, float32 [3, H, W] in 0..255 each."""
        return to_tensor(self._photos[number]), to_tensor(self._styles[number])

    def losses(self, net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        """Compute the terms of L = L_c + lambda L_s, equations 11 to 13, over relu1_1, relu2_1, relu3_1, relu4_1."""
        photos, styles = batch
        with torch.no_grad():
            wanted = self._encoder(styles / 255)
            target = self._target(photos, wanted[-1])
        features = self._encoder(net(target))
        style = torch.stack([mean_std_loss(got, stage) for got, stage in zip(features, wanted, strict=True)]).sum()
        return {"content": content_loss(features[-1], target), "style": self._spec.style_weight * style}

    def _target(self, photos: Tensor, style: Tensor) -> Tensor:
        return adain.normalize(self._encoder(photos / 255)[-1], *adain.statistics(style))

    def paint(self, *batch: Tensor) -> list[Tensor]:
        photos, styles = batch
        target = self._target(photos, self._encoder(styles / 255)[-1])
        return [photos, styles, self.module(target) * 255]

    def weights(self) -> dict[str, Tensor]:
        return self._blueprint.named(self.module)

    def rate(self, step: int) -> float:
        return self._spec.peak_rate / (1 + self._spec.decay * step)


class _Stages(nn.Module):
    """An encoder that returns the features of the first ReLU at each size: relu1_1, relu2_1, relu3_1 and relu4_1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features, float32 [N, C, h, w] each, of RGB [N, 3, H, W] in 0..1."""
        features, fresh = [], True
        for layer in self.encoder.children():
            x = layer(x)
            fresh = fresh or isinstance(layer, nn.MaxPool2d)
            if fresh and isinstance(layer, nn.ReLU):
                features.append(x.float())
                fresh = False
        return features


def _read_vgg(path: Path) -> State:
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist, and nstopt downloads nothing: get vgg_normalised.pth from {VGG_URL}"
        )
    return read_state_dict(path)
