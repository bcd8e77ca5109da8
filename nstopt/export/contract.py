"""The I/O contract as a module: uint8 [N, H, W, 3] RGB in, uint8 [N, H, W, 3] out, same H and W, any H, W ≥ 16.

Layout, normalization, padding to the net's multiple, cropping, rounding and clipping are all inside, so that users of
an engine in any language have nothing to get wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nstopt.errors import ExportError
from nstopt.nets.net import Convention, Net
from nstopt.pictures.size import Size

MAX_CROPPED = 32


def first_line(error: BaseException) -> str:
    """What a library's exception says first, in at most 300 characters; exporters wrap the one that tells the
    reason."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"


class PictureIn(nn.Module):
    """uint8 [N, H, W, 3] → float32 [N, 3, H', W'] in the net's own numbers, H' and W' rounded up to the net's multiple.

    The pad is a reflection at the bottom and the right: it keeps texture up to the edge, so that the norms' statistics
    hardly move, and it is cropped away afterwards.
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
        x = image.permute(0, 3, 1, 2).float()
        height, width = x.shape[2], x.shape[3]
        if not self.identity:
            x = x * self.scale + self.offset
        if self.multiple > 1:
            bottom, right = (self._round_up(side) - side for side in (height, width))
            x = functional.pad(x, (0, right, 0, bottom), mode="reflect")
        return x

    def _round_up(self, side: int) -> int:
        """To a multiple. Without a remainder, the sizes that torch.export carries through the net stay short."""
        return (side + self.multiple - 1) // self.multiple * self.multiple


class PictureOut(nn.Module):
    """float32 [N, 3, H', W'] → uint8 [N, H, W, 3], cropped to the size of `image`.

    Round and Clip come before the cast, which truncates and, in some runtimes, wraps.
    """

    def __init__(self, convention: Convention) -> None:
        super().__init__()
        low, high = convention.output_range
        self.scale = 255.0 / (high - low)
        self.offset = -low * self.scale

    def forward(self, y: Tensor, image: Tensor) -> Tensor:
        y = y[:, :, : image.shape[1], : image.shape[2]]
        if (self.scale, self.offset) != (1.0, 0.0):
            y = y * self.scale + self.offset
        return y.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def check_keeps_size(before: Sequence[int], after: Sequence[int]) -> None:
    """Whether a net that makes `after` of `before`, [N, 3, H', W'] each, keeps a picture's size but for a few rows and
    columns, which rounding up inside the net adds and PictureOut crops. Raises ExportError if it does not."""
    kept = len(after) == 4 and after[1] == 3
    if not kept or not all(0 <= out - into < MAX_CROPPED for into, out in zip(before[2:], after[2:], strict=True)):
        raise ExportError(
            f"not an image-to-image net: it makes {list(after)} of {list(before)} (N, channels, height, width); "
            "wanted 3 channels of the same size (if its sizes must be multiples of a number, state --multiple)"
        )


class PictureModule(nn.Module):
    """A net between its two conversions: the module that is exported, and the reference that exports are judged by."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.picture_in = PictureIn(net.convention, net.multiple)
        self.net = net.module
        self.picture_out = PictureOut(net.convention)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.picture_out(self.net(self.picture_in(image)), image)
        return result

    def net_shapes(self, size: Size) -> tuple[Sequence[int], Sequence[int]]:
        """Shapes of the net's input and output, [N, C, H', W'] each, for two pictures of `size`. Raises ExportError if
        the net does not run on them."""
        try:
            with torch.inference_mode():
                x = self.picture_in(torch.zeros(2, *size, 3, dtype=torch.uint8))
                return x.shape, self.net(x).shape
        except Exception as error:  # the user's own code can raise anything
            raise ExportError(
                f"the net does not run on two pictures of {size}: {first_line(error)}; "
                "it must take any number of pictures, and if it takes one size only, name that with --res"
            ) from error
