"""Distillation: train a slim net, the student, to reproduce another net's pictures.

Hinton et al. 2015, arXiv:1503.02531; Ba & Caruana 2014, arXiv:1312.6184, who regress on the teacher's output as this
does. It needs no style picture and no loss network.
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
from nstopt.train.trainer import Sample, System, TrainSpec, warm_cosine


@dataclass(frozen=True)
class StudentSpec:
    """Architecture of a student: a Johnson net with width, 2 * width and 4 * width channels in its three stages.

    `kernel` is the size of the first and the last convolution, which are the most expensive. `separable` splits the
    others into depthwise and pointwise ones.
    """

    width: int = 16
    blocks: int = 3
    kernel: int = 9
    separable: bool = False

    def blueprint(self) -> Blueprint:
        """Return the student's blueprint."""
        widths = (self.width, 2 * self.width, 4 * self.width)
        return johnson.design(widths, self.blocks, self.kernel, self.separable)


@dataclass(frozen=True)
class DistillSpec:
    """Student, training data and learning rate of a distillation.

    `data` is a folder of photographs, cut to squares of `crop` pixels. `peak_rate` is the highest learning rate,
    `gradient_weight` the weight of the gradient difference loss.
    """

    student: StudentSpec
    data: Path
    steps: int = TrainSpec.steps
    crop: int = 256
    peak_rate: float = 4e-3
    gradient_weight: float = 1.0
    seed: int = 0


class Distill(System):
    """Training of a student in the layout of the PyTorch examples to reproduce the teacher's pictures.

    Raises MediaError if the folder of photographs is missing or empty.
    """

    def __init__(self, spec: DistillSpec, teacher: Net, place: ProcessContext) -> None:
        self._spec = spec
        self._teacher = PictureModule(teacher).eval().to(place.device)
        self._crops = Crops(spec.data, spec.crop, spec.seed)
        self._blueprint = spec.student.blueprint()
        self.module = initialized(self._blueprint.module, spec.seed, place.device)
        self.settings = {
            "family": johnson.NAME,
            "teacher_family": teacher.family,
            "teacher_sha256": teacher.source_sha256,
            **settings_of(spec),
        }

    def sample(self, number: int) -> Sample:
        """Return a photograph, float32 [3, H, W] in 0..255."""
        return (to_tensor(self._crops[number]),)

    def losses(self, net: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        (photos,) = batch
        student, teacher = picture_of(net(photos)) / 255, self._teach(photos) / 255
        gradient = self._spec.gradient_weight * gradient_difference_loss(student, teacher)
        return {"pixels": pixel_loss(student, teacher), "gradient": gradient}

    def paint(self, *batch: Tensor) -> list[Tensor]:
        (photos,) = batch
        return [photos, self._teach(photos), picture_of(self.module(photos))]

    @torch.no_grad()
    def _teach(self, photos: Tensor) -> Tensor:
        """Stylize photographs [N, 3, H, W] in 0..255 with the teacher."""
        pictures: Tensor = self._teacher(photos.permute(0, 2, 3, 1).to(torch.uint8))
        return pictures.permute(0, 3, 1, 2).float()

    def weights(self) -> dict[str, Tensor]:
        return weights_of(self._blueprint, self.module)

    def rate(self, step: int) -> float:
        return warm_cosine(step, self._spec.steps, self._spec.peak_rate)
