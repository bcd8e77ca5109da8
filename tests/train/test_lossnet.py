"""The Darknet loss network: its features against the layers one by one, and bad files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from nstopt.errors import CheckpointError
from nstopt.train.load_lossnet import load_lossnet

from .material import WIDTHS, lossnet_arrays, write_lossnet


def test_features_are_those_of_the_layers_one_by_one(tmp_path: Path) -> None:
    picture = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 255
    lossnet = load_lossnet(write_lossnet(tmp_path / "lossnet.npz"))
    features = list(lossnet(picture).values())
    assert (lossnet.style, lossnet.content) == (("conv1", "conv2", "conv3", "conv4", "conv5"), "conv4")
    arrays = {name: torch.from_numpy(array) for name, array in lossnet_arrays().items()}
    x = picture / 255
    for stage, feature in enumerate(features, start=1):
        x = functional.conv2d(x, arrays[f"conv2d_{stage}.kernel"].permute(3, 2, 0, 1), padding=1)
        gamma, beta, mean, variance = (
            arrays[f"batch_normalization_{stage}.{part}"][:, None, None]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        x = functional.leaky_relu((x - mean) / torch.sqrt(variance + 1e-3) * gamma + beta, 0.1)
        torch.testing.assert_close(feature, x, rtol=1e-4, atol=1e-5)
        x = functional.avg_pool2d(x, 2)
    assert [tuple(f.shape) for f in features] == [(2, c, 32 >> i, 48 >> i) for i, c in enumerate(WIDTHS[1:])]


def test_it_is_frozen_but_passes_gradients(tmp_path: Path) -> None:
    lossnet = load_lossnet(write_lossnet(tmp_path / "lossnet.npz"))
    assert not any(parameter.requires_grad for parameter in lossnet.parameters())
    picture = torch.full((1, 3, 32, 32), 99.0, requires_grad=True)
    lossnet(picture)["conv5"].sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().min() > 0  # average pooling passes gradients to every pixel


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint at .*vgg\.npz"):
        load_lossnet(tmp_path / "vgg.npz")


def test_damaged_file(tmp_path: Path) -> None:
    path = write_lossnet(tmp_path / "lossnet.npz")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="truncated"):
        load_lossnet(path)


def test_missing_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    arrays = lossnet_arrays()
    del arrays["batch_normalization_3.beta"]
    arrays["conv2d_2.kernel"] = arrays["conv2d_2.kernel"][:1]
    with pytest.raises(CheckpointError, match="is not a known loss network") as caught:
        load_lossnet(write_lossnet(tmp_path / "lossnet.npz", arrays))
    assert "conv2d_2.kernel is [1, 3, 4, 5] instead of [3, 3, 4, 5]" in str(caught.value)
    assert "missing: batch_normalization_3.beta" in str(caught.value)


@pytest.mark.shared
def test_the_real_file(shared_folder: Path) -> None:
    features = load_lossnet(shared_folder / "lossnet" / "darknet_reference_conv1_5.npz")(torch.zeros(1, 3, 32, 32))
    assert [feature.shape[1] for feature in features.values()] == [16, 32, 64, 128, 256]
