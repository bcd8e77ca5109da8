"""What a recognized net is: a float module, and the convention that turns its numbers into pictures and back."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Convention:
    """How a net family maps 8-bit RGB onto its own numbers.

    Input: v in 0..255 becomes x = (lo + v / 255 * (hi - lo) - mean) / std, with (lo, hi) = `input_range` and mean, std
    per channel in units of that range. Output: y becomes v = (y - lo) / (hi - lo) * 255 with (lo, hi) = `output_range`.
    """

    input_range: tuple[float, float] = (0.0, 255.0)
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    output_range: tuple[float, float] = (0.0, 255.0)


@dataclass(frozen=True)
class Net:
    """A style net ready to export.

    `module` maps float32 [N, 3, H, W] to float32 [N, 3, H, W] for every H, W that are multiples of `multiple`; it is in
    eval mode and needs no gradient. `widths` are the channels of the encoder's stages, in order, `blocks` the number of
    residual blocks (0 where the family has none). `notes` are facts a user should see (dropped keys, baked styles).
    """

    family: str
    widths: tuple[int, ...]
    blocks: int
    module: nn.Module
    convention: Convention
    multiple: int
    source_sha256: str
    notes: tuple[str, ...] = field(default=())
