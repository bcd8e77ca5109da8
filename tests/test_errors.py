"""The one-line summary of a library's exception."""

from __future__ import annotations

from nstopt.errors import first_line


def test_first_line_is_that_of_the_root_cause() -> None:
    cause = ValueError("\n  bad axis 3  \nTraceback: ...")
    wrapper = RuntimeError("export failed")
    wrapper.__cause__ = cause
    assert first_line(wrapper) == "ValueError: bad axis 3"


def test_first_line_is_short_and_never_empty() -> None:
    assert first_line(ValueError("x" * 1000)) == "ValueError: " + "x" * 300
    assert first_line(KeyboardInterrupt()) == "KeyboardInterrupt"
