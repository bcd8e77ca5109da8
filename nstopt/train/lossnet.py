"""The loss network: a fixed classifier whose features say what is in a picture (content) and how it is painted (style).

Three are known by the names in their files: the Darknet reference classifier (darknet.py), VGG16 and VGG19 (vgg.py).
Nothing is downloaded: `vgg16` and `vgg19` are looked for where torch keeps its downloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nstopt.errors import CheckpointError
from nstopt.nets.checkpoint import read_state_dict

HUB_FILES = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth"}
HUB_URL = "https://download.pytorch.org/models/"


class LossLayer(NamedTuple):
    """A layer, and the name of the stage whose features it gives; empty for layers in between."""

    stage: str
    module: nn.Module


class LossNet(nn.Module):
    """float32 RGB [N, 3, H, W] in 0..255 to the features of its stages by name, finest first, always in float32.

    `style` are the stages whose statistics are the style, `content` the one whose features are the content. It is never
    trained itself.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        layers: Sequence[LossLayer],
        style: tuple[str, ...],
        content: str,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """`mean` and `std` are what is subtracted from, and then divides, a picture in 0..1."""
        super().__init__()
        self.style, self.content = style, content
        self._stages = [layer.stage for layer in layers]
        self.layers = nn.ModuleList(layer.module for layer in layers)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        x, features = (picture / 255 - self.mean) / self.std, {}
        for stage, layer in zip(self._stages, self.layers, strict=True):
            x = layer(x)
            if stage:
                features[stage] = x.float()
        return features


def load_lossnet(source: str | Path) -> LossNet:
    """The loss network of a file, or `vgg16` or `vgg19` from torch's download folder.

    Raises CheckpointError if the file is missing (the message says where it can be had), damaged, or no loss network.
    """
    from nstopt.train import darknet, vgg

    path = _find(str(source))
    state = read_state_dict(path)
    if any(name.startswith("features.") for name in state):
        return vgg.build(state, path)
    return darknet.build(state, path)


def _find(source: str) -> Path:
    if source not in HUB_FILES:
        return Path(source)
    path = Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILES[source]
    if not path.is_file():
        raise CheckpointError(
            f"the loss network {source} is not at {path}, and nothing is downloaded unasked: "
            f"put {HUB_URL}{HUB_FILES[source]} there, or name another file with --lossnet"
        )
    return path


def fixed_conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution that keeps height and width, with these weights, OIHW."""
    with torch.device("meta"):  # without weights of its own, for which it would draw random numbers
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding="same")
    conv.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return conv
