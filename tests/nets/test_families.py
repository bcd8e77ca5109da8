"""Each family against its reference implementation, with sizes read from the shapes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nstopt.errors import CheckpointError
from nstopt.nets import Convention, Net, load_net

from . import layouts, reference
from .layouts import State

PICTURES = Convention()
SYMMETRIC = Convention(input_range=(-1.0, 1.0), output_range=(-1.0, 1.0))


def saved(folder: Path, state: State) -> Path:
    path = folder / "net.pth"
    torch.save(state, path)
    return path


def saved_fast_style(folder: Path, state: State) -> Path:
    path = folder / "net.npz"
    np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})  # type: ignore[arg-type]
    return path


def assert_same(net: Net, x: Tensor, expected: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(net.module(x), expected, rtol=1e-4, atol=1e-4)
    assert not net.module.training
    assert not any(parameter.requires_grad for parameter in net.module.parameters())


@pytest.mark.parametrize(("widths", "blocks", "kernel"), [((4, 6, 8), 2, 9), ((5, 3, 7), 0, 5)])
def test_johnson(tmp_path: Path, widths: tuple[int, int, int], blocks: int, kernel: int) -> None:
    state = layouts.johnson(widths, blocks, kernel)
    net = load_net(saved(tmp_path, state))
    assert (net.family, net.widths, net.blocks, net.multiple, net.notes) == ("johnson", widths, blocks, 4, ())
    assert net.convention == PICTURES
    x = torch.rand(2, 3, 16, 24) * 255
    assert_same(net, x, reference.johnson(x, state, blocks))


@pytest.mark.parametrize(("widths", "blocks", "kernel"), [((4, 6, 8), 2, 9), ((5, 3, 7), 0, 5)])
def test_separable_johnson(tmp_path: Path, widths: tuple[int, int, int], blocks: int, kernel: int) -> None:
    state = layouts.separable_johnson(widths, blocks, kernel)
    net = load_net(saved(tmp_path, state))
    assert (net.family, net.widths, net.blocks, net.multiple) == ("johnson", widths, blocks, 4)
    x = torch.rand(2, 3, 16, 24) * 255
    assert_same(net, x, reference.johnson(x, layouts.in_one_part(state), blocks))


def test_a_separable_net_with_a_missing_tensor(tmp_path: Path) -> None:
    state = layouts.separable_johnson()
    del state["res1.conv2.pointwise.weight"]
    with pytest.raises(CheckpointError, match=r"Nearest: johnson.*missing: res1\.conv2\.pointwise\.weight"):
        load_net(saved(tmp_path, state))


def test_johnson_drops_the_running_statistics_of_old_checkpoints(tmp_path: Path) -> None:
    state = layouts.johnson()
    x = torch.rand(1, 3, 16, 16) * 255
    expected = reference.johnson(x, state, 2)
    state |= {
        "in1.running_mean": torch.zeros(4),
        "in1.running_var": torch.ones(4),
        "res1.in2.running_mean": torch.ones(8),
    }
    net = load_net(saved(tmp_path, state))
    assert net.notes == ("dropped 3 running statistics that an old PyTorch saved and the net never used",)
    assert_same(net, x, expected)


@pytest.mark.parametrize(("widths", "blocks"), [((4, 6, 8), 2), ((5, 3, 7), 1)])
def test_fast_style(tmp_path: Path, widths: tuple[int, int, int], blocks: int) -> None:
    state = layouts.fast_style(widths, blocks)
    net = load_net(saved_fast_style(tmp_path, state))
    assert (net.family, net.widths, net.blocks, net.multiple) == ("fast-style", widths, blocks, 4)
    assert net.convention == PICTURES
    x = torch.rand(2, 3, 16, 24) * 255
    with torch.no_grad():
        # The picture spans 300 gray levels, and random weights amplify rounding errors.
        torch.testing.assert_close(net.module(x), reference.fast_style(x, state, blocks).detach(), rtol=0, atol=0.02)


@pytest.mark.parametrize("frn", [False, True])
@pytest.mark.parametrize(("widths", "blocks"), [((4, 6, 8), 2), ((5, 3, 7), 4)])
def test_reconet(tmp_path: Path, widths: tuple[int, int, int], blocks: int, frn: bool) -> None:
    state = layouts.reconet(frn, widths, blocks)
    net = load_net(saved(tmp_path, state))
    assert (net.family, net.widths, net.blocks, net.multiple) == ("reconet", widths, blocks, 4)
    assert net.convention == SYMMETRIC
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    assert_same(net, x, reference.reconet(x, state, blocks, frn))


def test_separable_traces_and_exports_with_dynamic_sizes(tmp_path: Path) -> None:
    """The complete exports of the other families are tested in tests/export."""
    net = load_net(saved(tmp_path, layouts.separable_johnson(blocks=1)))
    example, other = torch.rand(2, 3, 32, 48), torch.rand(1, 3, 24, 16)
    height, width = torch.export.Dim("h", min=2), torch.export.Dim("w", min=2)
    sizes = {0: torch.export.Dim("n"), 2: net.multiple * height, 3: net.multiple * width}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecation warnings
        traced = torch.jit.trace(net.module, (example,), check_trace=False)
        exported = torch.export.export(net.module, (example,), dynamic_shapes=(sizes,)).module()
    with torch.no_grad():
        expected = net.module(other)
        assert expected.shape == other.shape
        torch.testing.assert_close(exported(other), expected)
        torch.testing.assert_close(traced(other), expected)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["wave", "udnie", "rain_princess"])
def test_trained_nets_output_pictures(shared_folder: Path, name: str) -> None:
    net = load_net(shared_folder / "nets" / name)
    assert (net.family, net.widths, net.blocks) == ("fast-style", (32, 64, 128), 5)
    photo = next(iter(sorted((shared_folder / "images" / "val").glob("*.jpg"))))
    pixels = np.asarray(Image.open(photo).convert("RGB").resize((96, 64)), dtype=np.float32)
    with torch.no_grad():
        out = net.module(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0))
    assert out.shape == (1, 3, 64, 96)
    # A picture, neither noise nor a flat color: neighbors are similar, and there is contrast.
    assert out.std() > 20
    assert (out[..., 1:] - out[..., :-1]).abs().mean() < out.std()
