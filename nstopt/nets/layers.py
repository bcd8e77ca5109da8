"""Layers that the families share. Each exports to plain ONNX operators with dynamic height and width."""

from __future__ import annotations

from torch import Tensor, nn


class Residual(nn.Module):
    """x + branch(x), for a branch that keeps the shape."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch's output to x, float32 [N, C, H, W]."""
        out: Tensor = x + self.branch(x)
        return out


def reflect_conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with bias and reflection padding of half a kernel."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect")


def separable_conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a depthwise convolution with reflection padding, followed by a pointwise convolution with bias.

    It takes kernel² + outputs multiplications per input channel and pixel instead of kernel² * outputs.
    """
    half = kernel // 2
    depthwise = nn.Conv2d(inputs, inputs, kernel, stride, half, groups=inputs, bias=False, padding_mode="reflect")
    return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))


def upsample() -> nn.Upsample:
    """Return a nearest-neighbor upsampling that doubles height and width."""
    return nn.Upsample(scale_factor=2, mode="nearest")
