"""Plots of a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstopt.calib.plot import check, plot
from nstopt.errors import CalibrationError
from nstopt.manifest import CandidateInfo

SEARCH = (
    CandidateInfo("a", 10.0, 40.0, 38.0),
    CandidateInfo("b", 11.0, 39.0, 37.0, on_front=False),
    CandidateInfo("c", 12.0, 42.0, 40.0),
)


def test_plots_are_pictures(tmp_path: Path) -> None:
    plot(SEARCH, 40.0, tmp_path / "search.png")
    picture = np.asarray(Image.open(tmp_path / "search.png").convert("RGB"))
    assert picture.shape[0] > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    plot(SEARCH[:1], 40.0, tmp_path / "search.svg")
    assert "<svg" in (tmp_path / "search.svg").read_text()


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"search\.gif: unknown plot format; write \.png, \.svg, \.pdf"):
        check(tmp_path / "search.gif")
