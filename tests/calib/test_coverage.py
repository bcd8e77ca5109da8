"""Kinds of pictures in a calibration set."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import noise

from nstopt.calib.coverage import kinds
from nstopt.pictures.files import Picture


def flat(level: int) -> Picture:
    return np.full((40, 50, 3), level, np.uint8)


def ramp() -> Picture:
    """A picture as bright as photographs, with as much detail."""
    rows = np.arange(40)[:, None] * 6 + np.zeros(50, int)
    return np.repeat(rows[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (flat(10), {"dark", "flat"}),
        (flat(250), {"bright", "flat"}),
        (flat(120), {"flat"}),
        (noise(40, 50), {"busy"}),
        (ramp(), set()),
    ],
)
def test_kinds(picture: Picture, found: set[str]) -> None:
    assert kinds(picture) == found
