"""Recognition by names and shapes, and the error for a checkpoint of no known family."""

from __future__ import annotations

import pytest
import torch

from nstopt.errors import CheckpointError
from nstopt.nets.recognize import FAMILIES, recognize

from . import layouts
from .layouts import State


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("johnson", layouts.johnson()),
        ("fast-style", layouts.fast_style()),
        ("reconet", layouts.reconet(frn=False)),
        ("reconet", layouts.reconet(frn=True)),
        ("adain", layouts.adain_decoder()),
    ],
)
def test_each_family_is_recognized(name: str, state: State) -> None:
    family, blueprint = recognize(state)
    assert family.name == name
    assert set(blueprint.names) == set(state)


@pytest.mark.parametrize(
    "key",
    ["conv1.conv2d.weight", "in2.weight", "conv3.conv2d.bias", "res1.conv2.conv2d.weight", "deconv3.conv2d.weight"],
)
def test_a_wrong_shape_names_the_family_the_tensor_and_both_shapes(key: str) -> None:
    state = layouts.johnson()
    needed = list(state[key].shape)
    found = [needed[0] + 1, *needed[1:]]
    state[key] = torch.zeros(found)
    with pytest.raises(CheckpointError) as caught:
        recognize(state, "a.pth")
    message = f"a.pth is a johnson net with tensors of wrong shapes; wrong shape: {key} is {found} instead of {needed}"
    assert str(caught.value) == message


def test_even_kernels_and_gray_input_are_wrong_shapes() -> None:
    state = layouts.johnson(kernel=8)
    with pytest.raises(CheckpointError, match=r"conv1\.conv2d\.weight is \[4, 3, 8, 8\] instead of \[4, 3, 9, 9\]"):
        recognize(state)
    state = layouts.fast_style()
    state["Variable"] = torch.zeros(9, 9, 1, 4)
    with pytest.raises(CheckpointError, match=r"Variable is \[9, 9, 1, 4\] instead of \[9, 9, 3, 4\]"):
        recognize(state)


def test_the_error_lists_the_differences_from_the_nearest_family() -> None:
    state = layouts.reconet(frn=True)
    del state["encoder.layers.4.activation.tau"]
    state["head.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as caught:
        recognize(state, "a.pth")
    message = str(caught.value)
    assert message.startswith("a.pth is not a known net. Known families: johnson (conv1.conv2d.weight, ")
    assert all(family.name in message for family in FAMILIES)
    assert "Nearest: reconet, " in message
    assert "missing: encoder.layers.4.activation.tau; unexpected: head.weight." in message
    assert "\n" not in message


def test_an_unknown_architecture() -> None:
    state = {f"layer{i}.0.bn1.weight": torch.zeros(4) for i in range(6)}
    with pytest.raises(
        CheckpointError, match=r"0 of \d+ names in common.*\(and 2 more\).*--arch package\.module:Class"
    ):
        recognize(state)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 2, 2, 2), (1, 1, 1, 1, 1)])
def test_wrong_shapes_of_any_rank_give_a_clear_error(shape: tuple[int, ...]) -> None:
    everything = layouts.johnson() | layouts.fast_style() | layouts.reconet(frn=True) | layouts.adain_decoder()
    for state in (layouts.johnson(), layouts.fast_style(), layouts.reconet(frn=True), everything):
        with pytest.raises(CheckpointError):
            recognize({name: torch.zeros(shape) for name in state})
