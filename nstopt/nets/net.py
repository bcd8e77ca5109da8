"""A loaded net: a float module, and the convention that converts pictures to its number range and back."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Convention:
    """Mapping between 8-bit RGB and a net's own number range.

    Input: v in 0..255 becomes x = (lo + v / 255 * (hi - lo) - mean) / std, where (lo, hi) is `input_range`; `mean` and
    `std` are per channel, in units of that range.
    Output: y becomes v = (y - lo) / (hi - lo) * 255, where (lo, hi) is `output_range`.
    """

    input_range: tuple[float, float] = (0.0, 255.0)
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    output_range: tuple[float, float] = (0.0, 255.0)


@dataclass(frozen=True)
class Net:
    """A style net ready to export.

    `module` maps float32 [N, 3, H, W] to float32 [N, 3, H, W], in the number range of `convention`, for all H and W
    that are multiples of `multiple`. It is in eval mode, and its parameters require no gradient. `widths` holds the
    channel counts of the encoder's stages, in order; `blocks` the number of residual blocks (0 for families without
    any). `notes` are facts for the user: dropped tensors, baked styles.
    """

    family: str
    widths: tuple[int, ...]
    blocks: int
    module: nn.Module
    convention: Convention
    multiple: int
    source_sha256: str
    notes: tuple[str, ...] = field(default=())
