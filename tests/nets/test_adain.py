"""AdaIN: the baked net against the formula with two inputs, several styles, and bad options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

from nstopt.errors import CheckpointError, MediaError
from nstopt.nets import Style, load_net
from nstopt.nets.adain import read_style

from . import layouts, reference
from .layouts import State


def style_picture(seed: int, width: int = 50, height: int = 40) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    decoder, vgg = tmp_path / "decoder.pth", tmp_path / "vgg.pth"
    torch.save(layouts.adain_decoder(), decoder)
    torch.save(layouts.adain_vgg(), vgg)
    return decoder, vgg


def encode(x: Tensor, state: State) -> Tensor:
    """Compute VGG's features at relu4_1; poolings round sizes up."""
    x = F.conv2d(x, state["0.weight"], state["0.bias"])
    for stage in ((2, 5), (9, 12), (16, 19, 22, 25), (29,)):
        if stage[0] > 2:
            x = F.max_pool2d(x, 2, ceil_mode=True)
        for position in stage:
            x = reference.reflect_conv(x, state, str(position)).clamp(min=0)
    return x


def decode(x: Tensor, state: State) -> Tensor:
    for position in (1, 5, 8, 11, 14, 18, 21, 25):
        x = reference.reflect_conv(x, state, str(position)).clamp(min=0)
        x = reference.twice(x) if position in (1, 14, 21) else x
    return reference.reflect_conv(x, state, "28")


def adain(content: Tensor, style: Tensor) -> Tensor:
    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(2)
        return flat.mean(2)[..., None, None], (flat.var(2, correction=1) + 1e-5).sqrt()[..., None, None]

    (mean, std), (style_mean, style_std) = moments(content), moments(style)
    return (content - mean) / std * style_std + style_mean


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_baked_styles_average_the_stylized_features(files: tuple[Path, Path], alpha: float) -> None:
    styles: list[Style] = [(style_picture(1), 1.0), (style_picture(2, 30, 70), 3.0)]
    net = load_net(files[0], vgg=files[1], styles=styles, alpha=alpha)
    assert (net.family, net.widths, net.blocks, net.multiple) == ("adain", (4, 5, 6, 8), 0, 8)
    assert net.convention.input_range == net.convention.output_range == (0.0, 1.0)
    assert net.notes == (f"style baked in: array [40, 50, 3] 25%, array [70, 30, 3] 75%; alpha {alpha:g}",)
    vgg, decoder = layouts_of(files)
    x = torch.rand(2, 3, 24, 32)
    content = encode(x, vgg)
    stylized = sum(
        share * adain(content, encode(read_style(picture), vgg))
        for share, (picture, _) in zip((0.25, 0.75), styles, strict=True)
    )
    with torch.no_grad():
        expected = decode(alpha * stylized + (1 - alpha) * content, decoder)
        torch.testing.assert_close(net.module(x), expected, rtol=1e-4, atol=1e-4)


def layouts_of(files: tuple[Path, Path]) -> tuple[State, State]:
    return torch.load(files[1], weights_only=True), torch.load(files[0], weights_only=True)


def test_style_pictures_are_rotated_and_resized_to_512(tmp_path: Path) -> None:
    path = tmp_path / "style.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation: rotated by a quarter turn
    Image.new("L", (100, 33), 255).save(path, exif=exif)
    picture = read_style(path)
    assert picture.shape == (1, 3, int(512 * 100 / 33), 512)
    torch.testing.assert_close(picture, torch.ones_like(picture))


def test_unreadable_style_picture(files: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "style.png"
    path.write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"cannot read the style picture style\.png"):
        load_net(files[0], vgg=files[1], styles=[(path, 1.0)])


@pytest.mark.parametrize(
    ("styles", "alpha", "message"),
    [
        ([], 1.0, "needs a style to bake in"),
        ([(style_picture(1), 1.0)], 1.5, r"alpha is 1\.5, but must be between 0"),
        ([(style_picture(1), 0.0)], 1.0, "each must be above 0"),
        ([(style_picture(1), 1.0), (style_picture(1), float("nan"))], 1.0, "each must be above 0"),
    ],
)
def test_bad_styles_and_alpha(files: tuple[Path, Path], styles: list[Style], alpha: float, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_net(files[0], vgg=files[1], styles=styles, alpha=alpha)


def test_a_vgg_that_is_missing_or_does_not_fit(files: tuple[Path, Path], tmp_path: Path) -> None:
    styles: list[Style] = [(style_picture(1), 1.0)]
    with pytest.raises(CheckpointError, match=r"needs the VGG it was trained with: pass .* as --vgg"):
        load_net(files[0], styles=styles)
    with pytest.raises(CheckpointError, match=r"does not fit .* VGG up to relu4_1.*missing: 0\.weight"):
        load_net(files[0], vgg=files[0], styles=styles)
    wider = tmp_path / "wider.pth"
    torch.save(layouts.adain_vgg(top=10), wider)
    with pytest.raises(CheckpointError, match="gives 10 channels at relu4_1, the decoder takes 8"):
        load_net(files[0], vgg=wider, styles=styles)
