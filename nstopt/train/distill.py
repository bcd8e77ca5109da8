"""Distillation: a slim net that is taught to paint what another one paints (Hinton et al. 2015, arXiv:1503.02531; Ba &
Caruana 2014, arXiv:1312.6184, regress on the teacher's output as here). No style picture and no loss network are
needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nstopt.export.contract import PictureModule
from nstopt.nets import Net, johnson
from nstopt.nets.layout import Blueprint
from nstopt.train.initialize import initialized
from nstopt.train.johnson import picture_of, weights_of
from nstopt.train.losses import gradient_difference_loss, pixel_loss
from nstopt.train.photos import Crops, to_tensor
from nstopt.train.process import ProcessContext
from nstopt.train.save import settings_of
from nstopt.train.trainer import Sample, System, warm_cosine


@dataclass(frozen=True)
class StudentSpec:
    """The student: a Johnson net of `width`, twice and four times that many channels in its three stages; `kernel` is
    the size of its first and last convolution, which are the dearest."""

    width: int = 16
    blocks: int = 3
    kernel: int = 9
    separable: bool = False

    def plan(self) -> Blueprint:
        """The net, without weights yet."""
        widths = (self.width, 2 * self.width, 4 * self.width)
        return johnson.design(widths, self.blocks, self.kernel, self.separable)


@dataclass(frozen=True)
class DistillSpec:
    """What to train: `student`, on the photographs of `data`."""

    student: StudentSpec
    data: Path
    steps: int
    crop: int = 256
    peak_rate: float = 4e-3
    gradient_weight: float = 1.0
    seed: int = 0


class Distill(System):
    """Trains a student in the layout of the PyTorch examples to give the teacher's pictures. Raises MediaError for a
    bad folder of photographs."""

    def __init__(self, spec: DistillSpec, teacher: Net, place: ProcessContext) -> None:
        self._spec = spec
        self._teacher = PictureModule(teacher).eval().to(place.device)
        self._crops = Crops(spec.data, spec.crop, spec.seed)
        self._plan = spec.student.plan()
        self.module = initialized(self._plan.module, spec.seed, place.device)
        self.settings = {
            "family": johnson.NAME,
            "teacher_family": teacher.family,
            "teacher_sha256": teacher.source_sha256,
            **settings_of(spec),
        }

    def sample(self, number: int) -> Sample:
        """A photograph [3, H, W] in 0..255."""
        return (to_tensor(self._crops[number]),)

    def losses(self, net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        (photos,) = batch
        taught, wanted = picture_of(net(photos)) / 255, self._taught(photos) / 255
        gradient = self._spec.gradient_weight * gradient_difference_loss(taught, wanted)
        return {"pixels": pixel_loss(taught, wanted), "gradient": gradient}

    def paint(self, *batch: Tensor) -> list[Tensor]:
        (photos,) = batch
        return [photos, self._taught(photos), picture_of(self.module(photos))]

    @torch.no_grad()
    def _taught(self, photos: Tensor) -> Tensor:
        pictures: Tensor = self._teacher(photos.permute(0, 2, 3, 1).to(torch.uint8))
        return pictures.permute(0, 3, 1, 2).float()

    def weights(self) -> dict[str, Tensor]:
        return weights_of(self._plan, self.module)

    def rate(self, step: int) -> float:
        return warm_cosine(step, self._spec.steps, self._spec.peak_rate)
