"""The I/O contract as a module: uint8 RGB [N, H, W, 3] in, uint8 RGB [N, H, W, 3] out, for any H, W ≥ 16.

It includes layout conversion, normalization, padding to the net's multiple, cropping, rounding and clipping, so that
no user of an engine, in any language, has to implement them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nstopt.errors import ExportError, first_line
from nstopt.nets.net import Convention, Net
from nstopt.pictures.size import Size

MAX_CROPPED = 32  # rows or columns that a net may add


class PictureIn(nn.Module):
    """Convert uint8 [N, H, W, 3] to float32 [N, 3, H', W'] in the net's number range.

    H' and W' are H and W rounded up to the net's multiple, by reflection at the bottom and the right. Reflection keeps
    texture up to the edge, so that the norms' statistics hardly change. PictureOut crops it away.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, convention: Convention, multiple: int) -> None:
        super().__init__()
        low, high = convention.input_range
        mean, std = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in (convention.mean, convention.std))
        self.register_buffer("scale", (high - low) / 255.0 / std)
        self.register_buffer("offset", (low - mean) / std)
        self.identity = bool((self.scale == 1).all() and (self.offset == 0).all())
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        """Convert uint8 [N, H, W, 3] to float32 [N, 3, H', W']."""
        x = image.permute(0, 3, 1, 2).float()
        height, width = x.shape[2], x.shape[3]
        if not self.identity:
            x = x * self.scale + self.offset
        if self.multiple > 1:
            bottom, right = (self._round_up(side) - side for side in (height, width))
            x = functional.pad(x, (0, right, 0, bottom), mode="reflect")
        return x

    def _round_up(self, side: int) -> int:
        """Round up to the multiple. Without `%`, the symbolic sizes that torch.export traces stay short."""
        return (side + self.multiple - 1) // self.multiple * self.multiple


class PictureOut(nn.Module):
    """Convert float32 [N, 3, H', W'] in the net's number range to uint8 [N, H, W, 3], cropped to the input's size.

    Rounds and clips before the cast, which truncates and, in some runtimes, wraps.
    """

    def __init__(self, convention: Convention) -> None:
        super().__init__()
        low, high = convention.output_range
        self.scale = 255.0 / (high - low)
        self.offset = -low * self.scale

    def forward(self, y: Tensor, image: Tensor) -> Tensor:
        """Convert `y`, float32 [N, 3, H', W'], to uint8 [N, H, W, 3] of the size of `image`, [N, H, W, 3]."""
        y = y[:, :, : image.shape[1], : image.shape[2]]
        if (self.scale, self.offset) != (1.0, 0.0):
            y = y * self.scale + self.offset
        return y.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def check_keeps_size(before: Sequence[int], after: Sequence[int]) -> None:
    """Raise ExportError if a net changes a picture's size; `before` and `after` are [N, 3, H', W'].

    Up to 31 more rows and columns are accepted: rounding up inside a net adds them, and PictureOut crops them.
    """
    kept = len(after) == 4 and after[1] == 3
    if not kept or not all(0 <= out - into < MAX_CROPPED for into, out in zip(before[2:], after[2:], strict=True)):
        raise ExportError(
            f"not an image-to-image net: it maps {list(before)} to {list(after)} (N, channels, height, width); "
            "3 channels of the same size are needed (if its sizes must be multiples of a number, state --multiple)"
        )


class PictureModule(nn.Module):
    """A net between the two conversions: the module that is exported, and the reference for checking the export."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.picture_in = PictureIn(net.convention, net.multiple)
        self.net = net.module
        self.picture_out = PictureOut(net.convention)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Stylize uint8 RGB [N, H, W, 3]; the result has the same shape and type."""
        result: Tensor = self.picture_out(self.net(self.picture_in(image)), image)
        return result

    def net_shapes(self, size: Size) -> tuple[Sequence[int], Sequence[int]]:
        """Run the net on two black pictures of `size`; return the shapes of its input and output, [2, C, H', W'].

        Raises ExportError if the net fails.
        """
        try:
            with torch.inference_mode():
                x = self.picture_in(torch.zeros(2, *size, 3, dtype=torch.uint8))
                return x.shape, self.net(x).shape
        except Exception as error:  # a user's code can raise anything
            raise ExportError(
                f"the net does not run on two pictures of {size}: {first_line(error)}; "
                "it must take any number of pictures, and if it takes one size only, state that size with --res"
            ) from error
