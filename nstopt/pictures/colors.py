"""Color channels."""

from __future__ import annotations

# Weights of red, green and blue in the luminance: ITU-R BT.709.
LUMINANCE = (0.2126, 0.7152, 0.0722)
