"""Kinds of pictures in a calibration set: ranges may clip the values of a kind that the set lacks."""

from __future__ import annotations

import numpy as np

from nstopt.pictures.colors import LUMINANCE
from nstopt.pictures.files import Picture

# Bounds of the mean luminance and of the mean difference between neighboring pixels, in gray levels. Of 64 photographs
# of BSDS500 at 512x512, about a tenth lies beyond each bound.
DARK, BRIGHT = 80.0, 150.0
FLAT, BUSY = 3.0, 10.0
KINDS = ("dark", "bright", "flat", "busy")


def kinds(picture: Picture) -> set[str]:
    """Return the members of KINDS that a picture, uint8 RGB [H, W, 3], belongs to; none for an ordinary one."""
    gray = picture @ np.array(LUMINANCE, np.float32)
    light = float(gray.mean())
    step = float((np.abs(np.diff(gray, axis=0)).mean() + np.abs(np.diff(gray, axis=1)).mean()) / 2)
    found = {"dark": light < DARK, "bright": light > BRIGHT, "flat": step < FLAT, "busy": step > BUSY}
    return {kind for kind, applies in found.items() if applies}
