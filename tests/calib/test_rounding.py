"""Weights rounded by GPTQ: the layer's output is closer than with each weight rounded to the nearest."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

from nstopt.calib.rounding import PatchMoments, gptq, gptq_convolution, nearest, patch_size

Sides = tuple[int, int]


def correlated(channels: int, height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Return values like those of a ReLU, [1, C, H, W]: smooth, not negative, correlated channels."""
    random = np.random.default_rng(seed)
    maps = random.normal(size=(3, height, width)).cumsum(axis=1).cumsum(axis=2)
    mixed = np.tensordot(random.normal(size=(channels, 3)), maps, axes=1) + 0.3 * random.normal(
        size=(channels, height, width)
    )
    return np.asarray(np.maximum(mixed / mixed.std(), 0)[None], np.float32)


def scales(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return np.asarray(np.abs(weight).max(axis=others, keepdims=True) / 15, np.float32)  # coarse: errors stand out


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 90))
def test_the_output_error_is_not_larger(seed: int, outputs: int, inputs: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(outputs, inputs)).astype(np.float32)
    seen = random.normal(size=(400, 3)) @ random.normal(size=(3, inputs)) + 0.1 * random.normal(size=(400, inputs))
    moments = seen.T @ seen / 400
    scale = scales(weight, 0)

    def error(integers: NDArray[np.int8]) -> float:
        rest = integers * scale - weight
        return float(np.einsum("oi,ij,oj->", rest, moments, rest))

    plain, compensated = nearest(weight, scale), gptq(weight, scale.ravel(), moments)
    assert error(compensated) <= error(plain) * 1.05
    assert np.abs(compensated - weight / scale).max() < 127
    if inputs > 30 and outputs > 10:
        assert error(compensated) < error(plain) * 0.7


def test_uncorrelated_inputs_are_rounded_to_the_nearest() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 20)).astype(np.float32)
    scale = scales(weight, 0)
    np.testing.assert_array_equal(gptq(weight, scale.ravel(), np.eye(20)), nearest(weight, scale))


def test_moments_that_are_not_positive_definite_are_damped_more() -> None:
    """All inputs share one factor; float32 rounding at the size of a large channel makes the moments indefinite."""
    random = np.random.default_rng(0)
    seen = (random.normal(size=(400, 1)) * 1e4 * np.ones((1, 60))).astype(np.float32)
    noise = random.normal(size=(60, 60)).astype(np.float32) * 3e5
    moments = (seen.T @ seen / 400 + noise + noise.T).astype(np.float64)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(moments)
    weight = random.normal(size=(8, 60)).astype(np.float32)
    compensated = gptq(weight, scales(weight, 0).ravel(), moments)
    assert np.abs(compensated).max() <= 127


def layer(operator: str, stride: int) -> onnx.NodeProto:
    return helper.make_node(operator, ["x", "w"], ["y"], strides=[stride, stride])


@pytest.mark.parametrize(
    ("operator", "kernel", "stride", "patch"),
    [
        ("Conv", (3, 3), 1, (3, 3)),
        ("Conv", (1, 9), 2, (1, 9)),
        ("ConvTranspose", (3, 3), 2, (2, 2)),
        ("ConvTranspose", (4, 4), 2, (2, 2)),
        ("ConvTranspose", (3, 3), 1, (3, 3)),
    ],
)
def test_the_output_of_a_layer_comes_closer(
    operator: str, kernel: tuple[int, int], stride: int, patch: tuple[int, int]
) -> None:
    """Compared with torch's convolutions, on another part of the picture than the moments are from."""
    node = layer(operator, stride)
    weight = np.random.default_rng(1).normal(size=(12, 12, *kernel)).astype(np.float32)
    assert patch_size(node, weight) == patch
    patches = PatchMoments(patch, centered=False)
    values = correlated(12, 40, 80)
    for _ in range(8):
        patches.add(values[..., :40])
    scale = scales(weight, 0 if operator == "Conv" else 1)
    compensated = gptq_convolution(node, weight, scale, patches.moments, noise=0.0)
    assert compensated.shape == weight.shape

    def run(weights: NDArray[np.float32]) -> torch.Tensor:
        function = torch.nn.functional.conv2d if operator == "Conv" else torch.nn.functional.conv_transpose2d
        return function(held_out, torch.from_numpy(weights.astype(np.float32)), stride=stride)

    held_out = torch.from_numpy(values[..., 40:].copy())
    exact = run(weight)
    errors = [float(((run(rounded * scale) - exact) ** 2).mean()) for rounded in (nearest(weight, scale), compensated)]
    assert errors[1] < errors[0] * 0.8


def test_without_moments_weights_are_rounded_to_the_nearest() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 4, 3, 3)).astype(np.float32)
    scale = scales(weight, 0)
    np.testing.assert_array_equal(
        gptq_convolution(layer("Conv", 1), weight, scale, None, noise=0.0), nearest(weight, scale)
    )


def test_centered_moments_ignore_constants() -> None:
    values = np.random.default_rng(0).normal(size=(1, 4, 30, 30)).astype(np.float32)
    shifted = values + np.float32(100)
    found = []
    for each in (values, shifted):
        patches = PatchMoments((3, 3), centered=True)
        patches.add(each)
        found.append(patches.moments)
    assert found[0] is not None
    assert found[1] is not None
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_inputs_smaller_than_the_kernel_have_no_patch() -> None:
    patches = PatchMoments((3, 3), centered=True)
    patches.add(np.zeros((1, 4, 2, 30), np.float32))
    assert patches.moments is None
