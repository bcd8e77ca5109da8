"""Fast-style-transfer nets from TensorFlow (lengstrom/fast-style-transfer and its exports).

Johnson's net (arXiv:1603.08155) with zero 'SAME' padding, convolutions without bias, transposed convolutions for
upsampling, and instance norm (epsilon 1e-3) after every convolution, including the last:

    conv k9, conv k3 /2, conv k3 /2 · residual blocks, ReLU after the first only · convT k3 x2, convT k3 x2 · conv k9 ·
    tanh * 150 + 127.5

The tensors are `Variable`, `Variable_1` ... in threes, in layer order: kernel [H, W, in, out] (transposed: [H, W, out,
in]), norm shift, norm scale. The input is RGB in 0..255, the output in -22.5..277.5, to be clipped to 0..255.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from nstopt.nets.layers import Residual
from nstopt.nets.layout import Blueprint, Family, State, majority, odd_kernel
from nstopt.nets.net import Convention

NAME = "fast-style"
FIXED_LAYERS = 6  # three convolutions before the blocks; two transposed ones and a last convolution after them
KERNEL_AXES = (3, 2, 0, 1)  # [H, W, in, out] to [out, in, H, W]; and [H, W, out, in] to a transposed [in, out, H, W]
EPSILON = 1e-3


class CropSame(nn.Module):
    """Crop the full output of a stride-2 transposed convolution to twice its input's size, as TensorFlow does.

    TensorFlow defines it as the gradient of a 'SAME' convolution. On an even size, that pads (k - 2) // 2 zeros before
    and the rest of k - 2 after, so the gradient drops as many rows and columns.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.before, self.after = _same_pads(kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Crop float32 [N, C, 2H + k - 2, 2W + k - 2] to [N, C, 2H, 2W]."""
        return x[..., self.before : -self.after, self.before : -self.after]


class TanhPixels(nn.Module):
    """tanh(x) * 150 + 127.5: slightly wider than 0..255, so that black and white are reached at finite x."""

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 of any shape to -22.5..277.5."""
        return torch.tanh(x) * 150.0 + 127.5


def blueprint(state: State) -> Blueprint:
    """Return the blueprint of this layout whose sizes fit the tensors of `state` (kernels HWIO) best."""
    blocks = max(0, (len(state) // 3 - FIXED_LAYERS) // 2)
    layers = FIXED_LAYERS + 2 * blocks
    turned = {name: t.permute(KERNEL_AXES) if t.ndim == 4 else t for name, t in state.items()}
    widths = [3]
    for layer, out_axis, default in ((0, 0, 32), (1, 0, 64), (2, 0, 128), (layers - 3, 1, 64), (layers - 2, 1, 32)):
        kernel, scale, shift = _layer_names(layer)
        widths.append(majority(turned, default, (kernel, out_axis), (shift, 0), (scale, 0)))
    kernels = [odd_kernel(turned, 9 if i in (0, layers - 1) else 3, _layer_names(i)[0]) for i in range(layers)]
    # A stride-2 kernel of one pixel would need negative padding. No such net exists; three is the minimum.
    kernels = [max(3, kernel) for kernel in kernels]
    with torch.device("meta"):
        module = _module(widths, kernels, blocks)
    names = tuple(name for layer in range(layers) for name in _layer_names(layer))
    return Blueprint(module, names, tuple(widths[1:4]), blocks, KERNEL_AXES)


def _layer_names(layer: int) -> tuple[str, str, str]:
    """Return the names of a layer's kernel, norm scale and norm shift, in the module's order, not the file's."""
    first = 3 * layer
    return (f"Variable_{first}" if first else "Variable", f"Variable_{first + 2}", f"Variable_{first + 1}")


def _same_pads(kernel: int) -> tuple[int, int]:
    """Return how many zeros 'SAME' padding puts before and after an even size at stride 2."""
    return (kernel - 2) // 2, (kernel - 1) // 2


def _module(widths: list[int], kernels: list[int], blocks: int) -> nn.Module:
    """Build the net. `widths`: input, three encoder stages, two decoder stages. `kernels`: one per convolution."""
    kernel = iter(kernels)
    inner = widths[3]
    layers: list[nn.Module] = [*_conv(widths[0], widths[1], next(kernel)), nn.ReLU()]
    for inputs, outputs in pairwise(widths[1:4]):
        layers += [*_half(inputs, outputs, next(kernel)), nn.ReLU()]
    for _ in range(blocks):
        layers.append(Residual(*_conv(inner, inner, next(kernel)), nn.ReLU(), *_conv(inner, inner, next(kernel))))
    for inputs, outputs in pairwise(widths[3:]):
        layers += [*_double(inputs, outputs, next(kernel)), nn.ReLU()]
    return nn.Sequential(*layers, *_conv(widths[-1], 3, next(kernel)), TanhPixels())


def _conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), _norm(outputs)]


def _half(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    before, after = _same_pads(kernel)
    pad = nn.ZeroPad2d((before, after, before, after))
    return [pad, nn.Conv2d(inputs, outputs, kernel, stride=2, bias=False), _norm(outputs)]


def _double(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, bias=False), CropSame(kernel), _norm(outputs)]


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, eps=EPSILON, affine=True)


FAMILY = Family(NAME, Convention(), multiple=4, blueprint=blueprint)
