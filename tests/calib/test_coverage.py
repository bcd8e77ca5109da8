"""Kinds of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import noise

from nstopt.calib.coverage import coverage, kinds
from nstopt.pictures.files import Picture


def even(level: int) -> Picture:
    return np.full((40, 50, 3), level, np.uint8)


def ramp() -> Picture:
    """As light as photographs, and as much going on."""
    rows = np.arange(40)[:, None] * 6 + np.zeros(50, int)
    return np.repeat(rows[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (even(10), {"dark", "flat"}),
        (even(250), {"bright", "flat"}),
        (even(120), {"flat"}),
        (noise(40, 50), {"busy"}),
        (ramp(), set()),
    ],
)
def test_kinds(picture: Picture, found: set[str]) -> None:
    assert kinds(picture) == found


def test_a_set_is_counted() -> None:
    assert coverage([even(10), even(20), noise(40, 50)]) == {"dark": 2, "bright": 0, "flat": 2, "busy": 1}
