"""VGG16 and VGG19 under torchvision's names: the layers of the papers, and bad files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nstopt.errors import CheckpointError
from nstopt.train import vgg
from nstopt.train.load_lossnet import load_lossnet

# torchvision's lists (configurations D and E); M is a pooling.
VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
VGG19 = [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"]


def state_of(layers: list[int | str]) -> dict[str, Tensor]:
    """Return small random weights, drawn once and reused in all layers, which is fast."""
    drawn = torch.randn(512 * 512 * 9, generator=torch.Generator().manual_seed(0)) * 0.05
    state, inputs, index = {"classifier.0.weight": torch.zeros(2, 2)}, 3, 0
    for layer in layers:
        if isinstance(layer, int):
            state[f"features.{index}.weight"] = drawn[: layer * inputs * 9].view(layer, inputs, 3, 3)
            state[f"features.{index}.bias"] = drawn[:layer]
            inputs, index = layer, index + 1
        index += 1
    return state


def reference(state: dict[str, Tensor], layers: list[int | str], picture: Tensor, last: int) -> Tensor:
    """Run torchvision's module up to layer `last` on the picture, normalized as its documentation says."""
    modules: list[nn.Module] = []
    for layer in layers:
        if layer == "M":
            modules.append(nn.MaxPool2d(2))
        else:
            weight = state[f"features.{len(modules)}.weight"]
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.load_state_dict({"weight": weight, "bias": state[f"features.{len(modules)}.bias"]})
            modules += [conv, nn.ReLU()]
        if len(modules) > last:
            break
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        x: Tensor = nn.Sequential(*modules[: last + 1])((picture / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    return x


@pytest.mark.parametrize(
    ("layers", "last", "stages"),
    [
        (VGG16, {"relu1_2": 3, "relu4_3": 22}, ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]),
        (VGG19, {"relu4_2": 22, "relu5_1": 29}, ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1"]),
    ],
    ids=["16", "19"],
)
def test_features_equal_torchvision_s(layers: list[int | str], last: dict[str, int], stages: list[str]) -> None:
    state = state_of(layers)
    lossnet = vgg.build(state, Path("vgg.pth"))
    picture = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 255
    features = lossnet(picture)
    assert list(features) == stages
    for stage, index in last.items():
        torch.testing.assert_close(features[stage], reference(state, layers, picture, index), rtol=1e-4, atol=1e-5)


def test_the_error_for_a_missing_download_names_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"put https://download\.pytorch\.org/models/vgg19-dcbb9e9d\.pth there"):
        load_lossnet("vgg19")


def test_a_file_in_the_download_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    file.parent.mkdir(parents=True)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, file)
    with pytest.raises(CheckpointError, match=r"397923af\.pth is neither VGG16 nor VGG19.*missing: features\.0\.bias"):
        load_lossnet("vgg16")
