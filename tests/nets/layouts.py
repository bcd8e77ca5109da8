"""Random checkpoints in each family's layout, written name by name, independent of the tested code."""

from __future__ import annotations

import torch
from torch import Tensor

State = dict[str, Tensor]
WIDTHS = (4, 6, 8)


def tensor(*shape: int) -> Tensor:
    """Return small random weights."""
    return torch.randn(shape) * 0.3


def conv(state: State, name: str, inputs: int, outputs: int, kernel: int) -> None:
    """Add a convolution with bias."""
    state[f"{name}.weight"] = tensor(outputs, inputs, kernel, kernel)
    state[f"{name}.bias"] = tensor(outputs)


def vivid(state: State, layer: str, gain: float, middle: float) -> State:
    """Spread the last layer's output around `middle`: plain random weights give pictures of a few gray levels."""
    state[f"{layer}.weight"] *= gain
    state[f"{layer}.bias"] += middle
    return state


def instance_norm(state: State, name: str, channels: int) -> None:
    """Add scale and shift of an instance norm."""
    state[f"{name}.weight"] = 1 + tensor(channels)
    state[f"{name}.bias"] = tensor(channels)


def johnson(widths: tuple[int, int, int] = WIDTHS, blocks: int = 2, kernel: int = 9) -> State:
    """Return a checkpoint of pytorch/examples' fast_neural_style."""
    a, b, c = widths
    state: State = {}
    for number, (inputs, outputs, k) in enumerate(((3, a, kernel), (a, b, 3), (b, c, 3)), start=1):
        conv(state, f"conv{number}.conv2d", inputs, outputs, k)
        instance_norm(state, f"in{number}", outputs)
    for block in range(1, blocks + 1):
        for part in (1, 2):
            conv(state, f"res{block}.conv{part}.conv2d", c, c, 3)
            instance_norm(state, f"res{block}.in{part}", c)
    for number, (inputs, outputs) in enumerate(((c, b), (b, a)), start=1):
        conv(state, f"deconv{number}.conv2d", inputs, outputs, 3)
        instance_norm(state, f"in{number + 3}", outputs)
    conv(state, "deconv3.conv2d", a, 3, kernel)
    return state


def separable_johnson(widths: tuple[int, int, int] = WIDTHS, blocks: int = 2, kernel: int = 9) -> State:
    """Return a separable student: all convolutions but the first and the last are depthwise and pointwise."""
    state: State = {}
    for name, value in johnson(widths, blocks, kernel).items():
        if ".conv2d" not in name or name.startswith(("conv1.", "deconv3.")):
            state[name] = value
        elif name.endswith("weight"):
            outputs, inputs = value.shape[:2]
            state[name.replace("conv2d", "depthwise")] = tensor(inputs, 1, 3, 3)
            state[name.replace("conv2d", "pointwise")] = tensor(outputs, inputs, 1, 1)
        else:
            state[name.replace("conv2d", "pointwise")] = value
    return state


def in_one_part(state: State) -> State:
    """Return an equivalent net with full convolutions: depthwise d and pointwise p give weights p[o, i] d[i]."""
    whole: State = {}
    for name, value in state.items():
        if ".pointwise.weight" in name:
            depthwise = state[name.replace("pointwise", "depthwise")]
            whole[name.replace("pointwise", "conv2d")] = value * depthwise.transpose(0, 1)
        elif ".depthwise." not in name:
            whole[name.replace("pointwise", "conv2d")] = value
    return whole


def fast_style(widths: tuple[int, int, int] = WIDTHS, blocks: int = 2) -> State:
    """Return a checkpoint of the TensorFlow family: kernel, shift, scale; kernels HWIO, transposed ones HWOI."""
    a, b, c = widths
    kernels = [(9, 9, 3, a), (3, 3, a, b), (3, 3, b, c), *[(3, 3, c, c)] * (2 * blocks)]
    channels = [k[3] for k in kernels]
    kernels += [(3, 3, b, c), (3, 3, a, b), (9, 9, a, 3)]
    channels += [b, a, 3]
    tensors: list[Tensor] = []
    for shape, count in zip(kernels, channels, strict=True):
        tensors += [tensor(*shape), tensor(count), 1 + tensor(count)]
    return {f"Variable_{i}" if i else "Variable": value for i, value in enumerate(tensors)}


def reconet(frn: bool, widths: tuple[int, int, int] = WIDTHS, blocks: int = 2) -> State:
    """Return a checkpoint of EmptySamurai/pytorch-reconet, with instance norm or FRN + TLU."""
    a, b, c = widths
    state: State = {}

    def stage(name: str, inputs: int, outputs: int, kernel: int, activation: bool = True) -> None:
        conv(state, f"{name}.layers.0.layers.1", inputs, outputs, kernel)
        if not frn:
            instance_norm(state, f"{name}.layers.1", outputs)
            return
        state[f"{name}.layers.1.weight"] = 1 + tensor(1, outputs, 1, 1)
        state[f"{name}.layers.1.bias"] = tensor(1, outputs, 1, 1)
        state[f"{name}.layers.1.eps"] = torch.tensor([1e-6])
        if activation:
            state[f"{name}.layers.2.tau"] = tensor(1, outputs, 1, 1)

    stage("encoder.layers.0", 3, a, 9)
    stage("encoder.layers.1", a, b, 3)
    stage("encoder.layers.2", b, c, 3)
    for block in range(3, 3 + blocks):
        stage(f"encoder.layers.{block}.branch.0", c, c, 3)
        stage(f"encoder.layers.{block}.branch.1", c, c, 3, activation=False)
        if frn:
            state[f"encoder.layers.{block}.activation.tau"] = tensor(1, c, 1, 1)
    stage("decoder.layers.1", c, b, 3)
    stage("decoder.layers.3", b, a, 3)
    conv(state, "decoder.layers.4.layers.0.layers.1", a, 3, 9)
    return state


def adain_decoder(top: int = 8) -> State:
    """Return a narrow decoder.pth of pytorch-AdaIN."""
    state: State = {}
    widths = (top, 6, 6, 6, 6, 5, 5, 4, 4, 3)
    for position, inputs, outputs in zip((1, 5, 8, 11, 14, 18, 21, 25, 28), widths, widths[1:], strict=False):
        conv(state, str(position), inputs, outputs, 3)
    return state


def adain_vgg(top: int = 8) -> State:
    """Return a narrow vgg_normalised.pth of pytorch-AdaIN, with some of the unused layers at its end."""
    state: State = {}
    conv(state, "0", 3, 3, 1)
    widths = (3, 4, 4, 5, 5, 6, 6, 6, 6, top, top, top)
    for position, inputs, outputs in zip((2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 42), widths, widths[1:], strict=False):
        conv(state, str(position), inputs, outputs, 3)
    return state
