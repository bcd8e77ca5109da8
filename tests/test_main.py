"""How the process ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

import nstopt.cli
from nstopt.__main__ import main


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as a fresh process handles it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def half_imported(prog_name: str) -> NoReturn:
    """What a C extension makes of Ctrl-C while it starts."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as interrupt:
        raise ImportError("initialization failed") from interrupt
    pytest.fail("not interrupted")


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_an_extension_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["nstopt", "--help"])
    monkeypatch.setattr(nstopt.cli, "app", half_imported)
    with pytest.raises(SystemExit, match="130"):
        main()
    assert capsys.readouterr().err == ""
