"""Messages: the summary of an exception of a library, and one printable line for a terminal."""

from __future__ import annotations

import pytest

from nstopt.errors import BundleError, MediaError, first_line, one_line, translated


def test_first_line_is_that_of_the_root_cause() -> None:
    cause = ValueError("\n  bad axis 3  \nTraceback: ...")
    wrapper = RuntimeError("export failed")
    wrapper.__cause__ = cause
    assert first_line(wrapper) == "ValueError: bad axis 3"


def test_first_line_of_an_error_of_the_system_has_no_number() -> None:
    assert first_line(OSError(22, "a device, not a file", "a.onnx")) == "a device, not a file (a.onnx)"
    assert first_line(OSError(28, "No space left on device")) == "No space left on device"
    assert first_line(OSError("no number")) == "OSError: no number"


def test_first_line_is_short_and_never_empty() -> None:
    assert first_line(ValueError("x" * 1000)) == "ValueError: " + "x" * 300
    assert first_line(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_message_is_one_printable_line_of_500_letters() -> None:
    assert one_line("a\nb \x1b[31m \udcff é") == "a b \\x1b[31m \\udcff é"
    assert len(one_line("word " * 1000)) == 500
    cut = one_line(f"begin {'x' * 5000}.png: no such picture")
    assert cut.startswith("begin xx")
    assert cut.endswith("xx.png: no such picture")
    assert len(cut) < 250


def test_errors_of_libraries_are_translated_and_ours_pass() -> None:
    message = r"^a\.png: not readable: IndexError: 3$"
    with pytest.raises(MediaError, match=message), translated(MediaError, "a.png: not readable"):
        raise IndexError(3)
    with pytest.raises(BundleError, match=r"^ours$"), translated(MediaError, "a.png"):
        raise BundleError("ours")
