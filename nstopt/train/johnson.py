"""Johnson: a net that stylizes photographs to one style (Johnson et al. 2016, arXiv:1603.08155)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from nstopt.nets import johnson
from nstopt.nets.layout import Blueprint
from nstopt.train.initialize import initialized
from nstopt.train.lossnet import load_lossnet
from nstopt.train.objective import Objective, StyleSpec
from nstopt.train.photos import Crops, to_tensor
from nstopt.train.process import ProcessContext
from nstopt.train.save import settings_of
from nstopt.train.trainer import Sample, System, warm_cosine

GRAY = 127.5
OUTPUT_GAIN = 64.0  # gray levels; about the spread of a picture, so that the untrained net starts near the trained one


@dataclass(frozen=True)
class JohnsonSpec:
    """What to train. `data` is a folder of photographs, `crop` the side in pixels of what is cut from them, `peak_rate`
    the highest learning rate."""

    style: StyleSpec
    data: Path
    lossnet: Path
    steps: int
    widths: tuple[int, int, int] = (16, 32, 48)
    blocks: int = 2
    crop: int = 256
    peak_rate: float = 2e-3
    seed: int = 0


class Johnson(System):
    """Trains a net in the layout of the PyTorch examples. Raises CheckpointError for a bad loss network, MediaError
    for a bad style picture or folder of photographs."""

    def __init__(self, spec: JohnsonSpec, place: ProcessContext) -> None:
        self._spec = spec
        self._objective = Objective(spec.style, load_lossnet(spec.lossnet), place.device)
        self._crops = Crops(spec.data, spec.crop, spec.seed)
        self._plan = johnson.design(spec.widths, spec.blocks)
        self.module = initialized(self._plan.module, spec.seed, place.device)
        self.settings = {"family": johnson.NAME, **settings_of(spec)}

    def sample(self, number: int) -> Sample:
        """A photograph [3, H, W] in 0..255."""
        return (to_tensor(self._crops[number]),)

    def losses(self, net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        (photos,) = batch
        return self._objective(picture_of(net(photos)), photos)

    def paint(self, *batch: Tensor) -> list[Tensor]:
        (photos,) = batch
        return [photos, picture_of(self.module(photos))]

    def weights(self) -> dict[str, Tensor]:
        return weights_of(self._plan, self.module)

    def rate(self, step: int) -> float:
        return warm_cosine(step, self._spec.steps, self._spec.peak_rate)


def picture_of(output: Tensor) -> Tensor:
    """Gray levels of the output of a net in training, which is of a size that random weights give."""
    return output.float() * OUTPUT_GAIN + GRAY


def weights_of(plan: Blueprint, module: nn.Module) -> dict[str, Tensor]:
    """The weights of a net that gives gray levels: `picture_of` is brought into the last convolution."""
    state = plan.named(module)
    last_weight, last_bias = plan.names[-2:]
    state[last_weight] = state[last_weight] * OUTPUT_GAIN
    state[last_bias] = state[last_bias] * OUTPUT_GAIN + GRAY
    return state
