"""PictureIn and PictureOut against numpy formulas."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from conftest import noise

from nstopt.errors import ExportError
from nstopt.export.contract import PictureIn, PictureModule, PictureOut, check_keeps_size
from nstopt.nets.net import Convention, Net

CONVENTIONS = [
    Convention(),
    Convention((0.0, 1.0), output_range=(0.0, 1.0)),
    Convention((0.0, 1.0), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (-1.0, 1.0)),
    Convention((0.0, 255.0), (103.939, 116.779, 123.68), (1.0, 1.0, 1.0), (0.0, 255.0)),
]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("size", "multiple"), [((16, 16), 1), ((17, 19), 4), ((33, 25), 8)])
def test_picture_in_scales_and_pads(convention: Convention, size: tuple[int, int], multiple: int) -> None:
    images = np.stack([noise(*size, seed) for seed in (0, 1)])
    low, high = convention.input_range
    x = (low + images / 255 * (high - low) - np.array(convention.mean)) / np.array(convention.std)
    pads = [(0, -side % multiple) for side in size]
    expected = np.pad(x, [(0, 0), *pads, (0, 0)], mode="reflect").transpose(0, 3, 1, 2)
    found = PictureIn(convention, multiple)(torch.from_numpy(images))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("output_range", [(0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)])
def test_picture_out_rounds_clips_and_crops(output_range: tuple[float, float]) -> None:
    low, high = output_range
    gray = np.random.default_rng(0).uniform(-300, 600, (2, 3, 20, 24)).astype(np.float32)
    y = torch.from_numpy(gray / 255 * (high - low) + low)
    images = torch.zeros(2, 17, 21, 3, dtype=torch.uint8)
    found = PictureOut(Convention(output_range=output_range))(y, images)
    assert found.shape == images.shape
    assert found.is_contiguous()
    expected = np.clip(np.rint(gray), 0, 255).transpose(0, 2, 3, 1)[:, :17, :21]
    np.testing.assert_allclose(found.numpy(), expected, atol=1 if (low, high) != (0.0, 255.0) else 0)


@pytest.mark.parametrize("convention", [convention for convention in CONVENTIONS if convention.mean == (0.0,) * 3])
def test_the_identity_net_returns_the_picture(convention: Convention) -> None:
    net = Net("custom", (), 0, torch.nn.Identity(), convention, 4, "0" * 64)
    image = torch.from_numpy(noise(21, 30)[None])
    torch.testing.assert_close(PictureModule(net)(image), image)


@pytest.mark.parametrize("after", [(2, 3, 80, 48), (2, 3, 36, 20), (2, 3, 40, 56), (2, 1, 40, 24), (2, 3, 40)])
def test_a_net_must_keep_the_size(after: tuple[int, ...]) -> None:
    check_keeps_size((2, 3, 40, 24), (2, 3, 40 + 31, 24))  # PictureOut crops as much
    message = f"not an image-to-image net: it maps [2, 3, 40, 24] to {list(after)} "
    with pytest.raises(ExportError, match=re.escape(message)):
        check_keeps_size((2, 3, 40, 24), after)
