"""The student that fits a target."""

from __future__ import annotations

import pytest

from nstopt.errors import DeviceError
from nstopt.pictures.size import Size
from nstopt.train import student as distillation
from nstopt.train.distill import StudentSpec
from nstopt.train.student import fitting

STUDENT = StudentSpec(width=1, blocks=0, kernel=3)


def test_the_widest_student_that_is_fast_enough_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "WIDTHS", (64, 2))
    found = fitting(STUDENT, "gtx-1060", 700, Size(512, 512))
    assert (found.student, found.projected.high_ms < 1000 / 700) == (StudentSpec(2, 0, 3), True)
    assert (found.projected.precision, found.projected.target) == ("int8", "gtx-1060")


def test_an_unknown_target() -> None:
    with pytest.raises(DeviceError, match="gtx-9999"):
        fitting(STUDENT, "gtx-9999", 60, Size(64, 64))
