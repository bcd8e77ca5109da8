"""Train a Johnson net, which stylizes to one style (Johnson et al. 2016, arXiv:1603.08155)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from nstopt.nets import johnson
from nstopt.nets.layout import Blueprint
from nstopt.train.initialize import initialized
from nstopt.train.load_lossnet import load_lossnet
from nstopt.train.objective import Objective, StyleSpec
from nstopt.train.photos import Crops, to_tensor
from nstopt.train.process import ProcessContext
from nstopt.train.save import settings_of
from nstopt.train.trainer import Sample, System, TrainSpec, warm_cosine

GRAY = 127.5
OUTPUT_GAIN = 64.0  # gray levels, about a picture's contrast: the untrained net's output starts in the right range


@dataclass(frozen=True)
class JohnsonSpec:
    """Style, training data and architecture of a Johnson net.

    `data` is a folder of photographs, cut to squares of `crop` pixels; `lossnet` is as load_lossnet takes it. `widths`
    are the channel counts of the encoder's stages, `blocks` the number of residual blocks. `peak_rate` is the highest
    learning rate.
    """

    style: StyleSpec
    data: Path
    lossnet: Path
    steps: int = TrainSpec.steps
    widths: tuple[int, int, int] = (16, 32, 48)
    blocks: int = 2
    crop: int = 256
    peak_rate: float = 2e-3
    seed: int = 0


class Johnson(System):
    """Training of a net in the layout of the PyTorch examples.

    Raises CheckpointError if the loss network cannot be loaded, MediaError if the style picture cannot be read or the
    folder of photographs is missing or empty.
    """

    def __init__(self, spec: JohnsonSpec, place: ProcessContext) -> None:
        self._spec = spec
        self._objective = Objective(spec.style, load_lossnet(spec.lossnet), place.device)
        self._crops = Crops(spec.data, spec.crop, spec.seed)
        self._blueprint = johnson.design(spec.widths, spec.blocks)
        self.module = initialized(self._blueprint.module, spec.seed, place.device)
        self.settings = {"family": johnson.NAME, **settings_of(spec)}

    def sample(self, number: int) -> Sample:
        """Return a photograph, float32 [3, H, W] in 0..255."""
        return (to_tensor(self._crops[number]),)

    def losses(self, net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        (photos,) = batch
        return self._objective(picture_of(net(photos)), photos)

    def paint(self, *batch: Tensor) -> list[Tensor]:
        (photos,) = batch
        return [photos, picture_of(self.module(photos))]

    def weights(self) -> dict[str, Tensor]:
        return weights_of(self._blueprint, self.module)

    def rate(self, step: int) -> float:
        return warm_cosine(step, self._spec.steps, self._spec.peak_rate)


def picture_of(output: Tensor) -> Tensor:
    """Scale the output of a net in training, whose deviation is about 1, to gray levels, float32 [N, 3, H, W]."""
    return output.float() * OUTPUT_GAIN + GRAY


def weights_of(blueprint: Blueprint, module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a net that outputs gray levels: fold `picture_of` into the last convolution."""
    state = blueprint.named(module)
    last_weight, last_bias = blueprint.names[-2:]
    state[last_weight] = state[last_weight] * OUTPUT_GAIN
    state[last_bias] = state[last_bias] * OUTPUT_GAIN + GRAY
    return state
