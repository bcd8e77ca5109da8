"""Layers that the families share. Each exports to plain ONNX operators with height and width left open."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """x + branch(x), for a branch that keeps the shape."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, C, H, W] to the same shape."""
        out: Tensor = x + self.branch(x)
        return out


def reflect_conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution with bias that reflects the picture by half a kernel at its borders."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect")


def separable_conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A depthwise convolution, which reflects the picture at its borders, and a pointwise one with bias: the work of
    kernel² + outputs a channel and pixel instead of kernel² * outputs."""
    half = kernel // 2
    depthwise = nn.Conv2d(inputs, inputs, kernel, stride, half, groups=inputs, bias=False, padding_mode="reflect")
    return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))


def upsample() -> nn.Upsample:
    """Nearest-neighbor doubling of height and width."""
    return nn.Upsample(scale_factor=2, mode="nearest")
