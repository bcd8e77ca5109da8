"""Arbitrary style transfer by adaptive instance normalization (AdaIN), in naoto0804/pytorch-AdaIN's layout.

Huang & Belongie 2017, arXiv:1703.06868: the content's VGG features at relu4_1 are shifted and scaled to the mean and
standard deviation of the style's features, per channel. A decoder turns them back into a picture. The weights come in
two files: the decoder, and the normalized VGG, whose layers after relu4_1 are not used. Input and output are RGB in
0..1.

The style is baked in: its statistics become constants, and the net has a single input.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from nstopt.errors import CheckpointError, MediaError
from nstopt.nets.layers import reflect_conv, upsample
from nstopt.nets.layout import Blueprint, Family, State, compare, majority
from nstopt.nets.net import Convention

NAME = "adain"
Style = tuple[Path | str | NDArray[np.uint8], float]
EPSILON = 1e-5  # added to variances, as in pytorch-AdaIN
STYLE_SIZE = 512  # shorter side to which pytorch-AdaIN resizes a style picture
# Positions of convolutions in pytorch-AdaIN's layer lists; they name the tensors. An upsampling follows some of the
# decoder's, a pooling precedes some of the encoder's.
DECODER_CONVS, DOUBLED_AFTER = (1, 5, 8, 11, 14, 18, 21, 25, 28), (1, 14, 21)
VGG_CONVS, HALVED_BEFORE = (2, 5, 9, 12, 16, 19, 22, 25, 29), (9, 16, 29)
DECODER_WIDTHS = (512, 256, 256, 256, 256, 128, 128, 64, 64)
VGG_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256, 512)
VGG_TAIL = re.compile(r"(3[1-9]|[4-9]\d)\.")  # the layers after relu4_1, which is at position 30


class BakedAdaIN(nn.Module):
    """Encoder, AdaIN to a constant mean and standard deviation [1, C, 1, 1], decoder.

    `alpha` in 0..1 blends the features: alpha * stylized + (1 - alpha) * content.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, mean: Tensor, std: Tensor, alpha: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.alpha = alpha
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Stylize float32 [N, 3, H, W] in 0..1, H and W multiples of 8; the result may exceed 0..1 slightly."""
        content = self.encoder(x)
        features = normalize(content, self.mean, self.std)
        if self.alpha < 1.0:
            features = self.alpha * features + (1.0 - self.alpha) * content
        picture: Tensor = self.decoder(features)
        return picture


def blueprint(state: State) -> Blueprint:
    """Return the blueprint of the decoder whose sizes fit the tensors of `state` best."""
    widths = [
        majority(state, DECODER_WIDTHS[0], ("1.weight", 1)),
        *_widths(state, DECODER_CONVS[:-1], DECODER_WIDTHS[1:]),
    ]
    with torch.device("meta"):
        module = _decoder([*widths, 3])
    return Blueprint(module, _names(DECODER_CONVS), tuple(widths))


def bake(decoder: State, vgg: State | None, styles: Sequence[Style], alpha: float) -> tuple[nn.Module, tuple[int, ...]]:
    """Combine decoder, VGG and styles into a net of one input; return it in eval mode, and the encoder's widths.

    Each of `styles` is a pair (path or uint8 [H, W, 3] RGB array, weight > 0); weights are relative to their sum.
    `alpha` is in 0..1. The widths are the channel counts at the encoder's four scales.

    Raises CheckpointError if the VGG is missing or does not fit, no style is given, or a number is out of range.
    Raises MediaError if a style picture cannot be read.
    """
    if vgg is None:
        raise CheckpointError(
            "an AdaIN decoder needs the VGG it was trained with: pass its file (vgg_normalised.pth) as --vgg"
        )
    if not styles:
        raise CheckpointError("an AdaIN net needs a style to bake in: pass at least one picture with --style")
    if not 0.0 <= alpha <= 1.0:
        raise CheckpointError(f"alpha is {alpha}, but must be between 0 (content) and 1 (full style)")
    if not all(math.isfinite(weight) and weight > 0 for _, weight in styles):
        raise CheckpointError(f"style weights are {[weight for _, weight in styles]}, but each must be above 0")
    decoder_blueprint = blueprint(decoder)
    encoder = encoder_blueprint(vgg)
    if encoder.widths[-1] != decoder_blueprint.widths[0]:
        raise CheckpointError(
            f"the VGG gives {encoder.widths[-1]} channels at relu4_1, the decoder takes {decoder_blueprint.widths[0]}: "
            "they are not of one training; pass the VGG that this decoder was trained with"
        )
    # A style picture may have any size, and pytorch-AdaIN's pooling rounds up. The content's size is a multiple of 8.
    mean, std = _style_statistics(encoder_blueprint(vgg, ceil_mode=True).fill(vgg), styles)
    module = BakedAdaIN(encoder.fill(vgg), decoder_blueprint.fill(decoder), mean, std, alpha)
    return module.eval(), encoder.widths


def encoder_blueprint(vgg: State, ceil_mode: bool = False) -> Blueprint:
    """Return the blueprint of a normalized VGG up to relu4_1; with `ceil_mode`, its poolings round sizes up.

    Its `widths` are the channel counts at relu1_1, relu2_1, relu3_1 and relu4_1. Raises CheckpointError if the tensors
    of `vgg` belong to another net.
    """
    used = {name: tensor for name, tensor in vgg.items() if not VGG_TAIL.match(name)}
    widths = _widths(used, VGG_CONVS, VGG_WIDTHS)
    with torch.device("meta"):
        module = _encoder(widths, ceil_mode)
    scales = tuple(widths[VGG_CONVS.index(conv)] for conv in (5, 12, 25, 29))
    encoder = Blueprint(module, _names((0, *VGG_CONVS)), scales)
    if mismatch := compare(encoder.shapes(), used):
        raise CheckpointError(
            f"the VGG file does not fit pytorch-AdaIN's normalized VGG up to relu4_1: {mismatch.describe()}"
        )
    return encoder


def design(encoder: Blueprint) -> Blueprint:
    """Return the blueprint of a new decoder, to be trained, that mirrors `encoder`."""
    convs = [layer for layer in encoder.module.modules() if isinstance(layer, nn.Conv2d)]
    widths = [conv.out_channels for conv in reversed(convs[1:])]
    with torch.device("meta"):
        module = _decoder([*widths, 3])
    return Blueprint(module, _names(DECODER_CONVS), tuple(widths))


def normalize(content: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Shift and scale features [N, C, H, W] to this mean and deviation [N, C, 1, 1]: equation 8 of the paper."""
    own_mean, own_std = statistics(content)
    return (content - own_mean) / own_std * std + mean


def read_style(picture: Path | str | NDArray[np.uint8]) -> Tensor:
    """Read a style picture as float32 RGB [1, 3, H, W] in 0..1, resized to a shorter side of 512 pixels.

    Resizes as pytorch-AdaIN's test script does, after applying the EXIF orientation. Raises MediaError if the picture
    cannot be read.
    """
    try:
        image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else Image.open(picture)
        with image:
            rgb = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        raise MediaError(f"cannot read the style picture {_title(picture)}: {error}") from error
    short = min(rgb.size)
    # pytorch-AdaIN also enlarges small pictures, and truncates the longer side: the statistics depend on both.
    width, height = (int(STYLE_SIZE * side / short) for side in rgb.size)
    resized = rgb.resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized, dtype=np.float32) / 255.0)
    return pixels.permute(2, 0, 1).unsqueeze(0)


def describe(styles: Sequence[Style], alpha: float) -> str:
    """Return the note that names the baked styles and their shares."""
    total = sum(weight for _, weight in styles)
    shares = ", ".join(f"{_title(picture)} {weight / total:.0%}" for picture, weight in styles)
    return f"style baked in: {shares}; alpha {alpha:g}"


def _title(picture: Path | str | NDArray[np.uint8]) -> str:
    if isinstance(picture, np.ndarray):
        return f"array {list(picture.shape)}"
    return Path(picture).name


def _style_statistics(encoder: nn.Module, styles: Sequence[Style]) -> tuple[Tensor, Tensor]:
    """Return the weighted mean and standard deviation of the styles' features, float32 [1, C, 1, 1] each.

    pytorch-AdaIN averages the AdaIN outputs of the styles. Each output is normalized content * std + mean, linear in
    std and mean. So averaging std and mean first gives the same features at the cost of one style.
    """
    total = sum(weight for _, weight in styles)
    mean, std = torch.zeros(()), torch.zeros(())
    for picture, weight in styles:
        with torch.no_grad():
            style_mean, style_std = statistics(encoder(read_style(picture)))
        mean = mean + weight / total * style_mean
        std = std + weight / total * style_std
    return mean, std


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over height and width, [N, C, 1, 1] each, of features [N, C, H, W].

    The variance is the unbiased one, plus EPSILON.
    """
    mean = features.mean(dim=(2, 3), keepdim=True)
    variance = features.var(dim=(2, 3), correction=1, keepdim=True)
    return mean, torch.sqrt(variance + EPSILON)


def _widths(state: State, convs: Sequence[int], defaults: Sequence[int]) -> list[int]:
    places = [((f"{conv}.weight", 0), (f"{conv}.bias", 0)) for conv in convs]
    return [majority(state, default, *place) for place, default in zip(places, defaults, strict=True)]


def _names(convs: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{conv}.{part}" for conv in convs for part in ("weight", "bias"))


def _encoder(widths: list[int], ceil_mode: bool) -> nn.Module:
    """Return VGG up to relu4_1. In pytorch-AdaIN's VGG, the first layer, 1x1, applies ImageNet's mean and deviation."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    for position, inputs, outputs in zip(VGG_CONVS, [3, *widths], widths, strict=False):
        layers += [nn.MaxPool2d(2, ceil_mode=ceil_mode)] if position in HALVED_BEFORE else []
        layers += [reflect_conv(inputs, outputs, 3), nn.ReLU()]
    return nn.Sequential(*layers)


def _decoder(widths: list[int]) -> nn.Module:
    layers: list[nn.Module] = []
    for position, inputs, outputs in zip(DECODER_CONVS, widths, widths[1:], strict=False):
        layers += [reflect_conv(inputs, outputs, 3), nn.ReLU()]
        layers += [upsample()] if position in DOUBLED_AFTER else []
    return nn.Sequential(*layers[:-1])  # no ReLU after the last


FAMILY = Family(NAME, Convention(input_range=(0.0, 1.0), output_range=(0.0, 1.0)), multiple=8, blueprint=blueprint)
