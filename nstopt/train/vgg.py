"""VGG16 and VGG19 (Simonyan & Zisserman 2014, arXiv:1409.1556, table 1, columns D and E) in torchvision's layout.

The file is torchvision's state dict: `features.N.weight` and `.bias`, where N counts convolutions, ReLUs and poolings.
The fully connected layers are not used. The input is RGB in 0..1, normalized by ImageNet's mean and deviation.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from nstopt.errors import CheckpointError
from nstopt.nets.layout import Shape, State, compare
from nstopt.train.lossnet import LossLayer, LossNet, fixed_conv

WIDTHS = (64, 128, 256, 512, 512)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Vgg(NamedTuple):
    """Convolutions in each of the five blocks, and the stages that the papers use."""

    depths: tuple[int, ...]
    style: tuple[str, ...]
    content: str


# VGG16 as Johnson et al. 2016, section 4.1, and Gao et al. 2018, section 3; VGG19 as Gatys et al. 2016, section 3.
VGG16 = _Vgg((2, 2, 3, 3, 3), ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "relu3_3")
VGG19 = _Vgg((2, 2, 4, 4, 4), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), "relu4_2")


def build(state: State, source: Path) -> LossNet:
    """Build the loss network of a file's tensors, up to the last stage used; stages are named as in the papers.

    Raises CheckpointError, naming the file `source`, if the tensors are neither VGG16's nor VGG19's.
    """
    features = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    vgg = VGG19 if "features.34.weight" in features else VGG16
    if mismatch := compare(_expected(vgg), features):
        raise CheckpointError(
            f"{source} is neither VGG16 nor VGG19 as torchvision stores them (without batch norm); "
            f"{mismatch.describe()}"
        )
    used = (*vgg.style, vgg.content)
    layers: list[LossLayer] = []
    for stage, index in _convs(vgg):
        if stage.endswith("_1") and index > 0:
            layers.append(LossLayer("", nn.MaxPool2d(2)))
        conv = fixed_conv(features[f"features.{index}.weight"], features[f"features.{index}.bias"])
        layers += [LossLayer("", conv), LossLayer(stage if stage in used else "", nn.ReLU())]
        if stage == max(used):
            break
    return LossNet(layers, vgg.style, vgg.content, MEAN, STD)


def _convs(vgg: _Vgg) -> list[tuple[str, int]]:
    """Return (stage, number in the file) of each convolution; a ReLU follows each, and a pooling each block."""
    found, index = [], 0
    for block, depth in enumerate(vgg.depths, start=1):
        for layer in range(1, depth + 1):
            found.append((f"relu{block}_{layer}", index))
            index += 2
        index += 1
    return found


def _expected(vgg: _Vgg) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    inputs = 3
    for stage, index in _convs(vgg):
        outputs = WIDTHS[int(stage[4]) - 1]
        shapes[f"features.{index}.weight"] = (outputs, inputs, 3, 3)
        shapes[f"features.{index}.bias"] = (outputs,)
        inputs = outputs
    return shapes
