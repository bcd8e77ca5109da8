"""Reference implementations of the nets as formulas over named weights, independent of the tested modules."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .layouts import State


def reflect_conv(x: Tensor, state: State, name: str, stride: int = 1) -> Tensor:
    """Convolution with reflection padding, by indexing."""
    weight = state[f"{name}.weight"]
    for axis in (2, 3):
        size, half = x.shape[axis], weight.shape[axis] // 2
        index = torch.arange(-half, size + half).abs()
        index = torch.where(index >= size, 2 * (size - 1) - index, index)
        x = x.index_select(axis, index)
    return F.conv2d(x, weight, state[f"{name}.bias"], stride)


def moments_norm(x: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Instance norm from its definition, with the biased variance."""
    mean = x.flatten(2).mean(2)[..., None, None]
    variance = x.flatten(2).var(2, correction=0)[..., None, None]
    return (x - mean) / (variance + epsilon).sqrt() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def twice(x: Tensor) -> Tensor:
    """Repeat every pixel in both directions."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def johnson(x: Tensor, state: State, blocks: int) -> Tensor:
    """pytorch/examples' TransformerNet."""

    def norm(x: Tensor, name: str) -> Tensor:
        return moments_norm(x, state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)

    for i, stride in ((1, 1), (2, 2), (3, 2)):
        x = norm(reflect_conv(x, state, f"conv{i}.conv2d", stride), f"in{i}").clamp(min=0)
    for i in range(1, blocks + 1):
        inner = norm(reflect_conv(x, state, f"res{i}.conv1.conv2d"), f"res{i}.in1").clamp(min=0)
        x = x + norm(reflect_conv(inner, state, f"res{i}.conv2.conv2d"), f"res{i}.in2")
    for i in (1, 2):
        x = norm(reflect_conv(twice(x), state, f"deconv{i}.conv2d"), f"in{i + 3}").clamp(min=0)
    return reflect_conv(x, state, "deconv3.conv2d")


def reconet(x: Tensor, state: State, blocks: int, frn: bool) -> Tensor:
    """ReCoNet with either norm."""

    def act(x: Tensor, name: str) -> Tensor:
        return torch.where(x > state[name], x, state[name]) if frn else x.clamp(min=0)

    def linear(x: Tensor, name: str, stride: int = 1) -> Tensor:
        x = reflect_conv(x, state, f"{name}.layers.0.layers.1", stride)
        scale, shift = state[f"{name}.layers.1.weight"], state[f"{name}.layers.1.bias"]
        if not frn:
            return moments_norm(x, scale, shift, 1e-5)
        power = (x * x).flatten(2).sum(2) / (x.shape[2] * x.shape[3])
        return scale * x / (power[..., None, None] + state[f"{name}.layers.1.eps"].abs()).sqrt() + shift

    def stage(x: Tensor, name: str, stride: int = 1) -> Tensor:
        return act(linear(x, name, stride), f"{name}.layers.2.tau")

    for i, stride in ((0, 1), (1, 2), (2, 2)):
        x = stage(x, f"encoder.layers.{i}", stride)
    for i in range(3, 3 + blocks):
        block = f"encoder.layers.{i}"
        x = act(x + linear(stage(x, f"{block}.branch.0"), f"{block}.branch.1"), f"{block}.activation.tau")
    x = stage(twice(x), "decoder.layers.1")
    x = stage(twice(x), "decoder.layers.3")
    return torch.tanh(reflect_conv(x, state, "decoder.layers.4.layers.0.layers.1"))


def same_conv(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """TensorFlow's 'SAME' convolution of [N, C, H, W] with an HWIO kernel: ceil(size / stride), extra zero last."""
    pads: list[int] = []
    for axis in (3, 2):
        size, k = x.shape[axis], kernel.shape[axis - 2]
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), kernel.permute(3, 2, 0, 1), stride=stride)


def same_conv_transpose(x: Tensor, kernel: Tensor) -> Tensor:
    """TensorFlow's conv2d_transpose, stride 2: the gradient of the 'SAME' convolution of a picture twice as large."""
    with torch.enable_grad():
        large = torch.zeros(x.shape[0], kernel.shape[2], 2 * x.shape[2], 2 * x.shape[3], requires_grad=True)
        (gradient,) = torch.autograd.grad(same_conv(large, kernel, 2), large, x)
    return gradient


def fast_style(x: Tensor, state: State, blocks: int) -> Tensor:
    """The TensorFlow family."""
    tensors = iter(state.values())

    def layer(x: Tensor, stride: int = 1, transposed: bool = False) -> Tensor:
        kernel, shift, scale = next(tensors), next(tensors), next(tensors)
        x = same_conv_transpose(x, kernel) if transposed else same_conv(x, kernel, stride)
        return moments_norm(x, scale, shift, 1e-3)

    for stride in (1, 2, 2):
        x = layer(x, stride).clamp(min=0)
    for _ in range(blocks):
        x = x + layer(layer(x).clamp(min=0))
    for _ in range(2):
        x = layer(x, transposed=True).clamp(min=0)
    return torch.tanh(layer(x)) * 150 + 255.0 / 2
