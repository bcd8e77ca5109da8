"""Start-up: the stopwatch times a command in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from made import MakeBundle

from nstopt.bench import startup
from nstopt.bench.startup import TimedCommand, measure_startup, run_timed
from nstopt.errors import NstoptError
from nstopt.manifest import InputShape
from nstopt.pictures.files import read_picture
from nstopt.pictures.size import Size, Sizes


def test_a_command_is_timed_and_its_memory_is_its_own() -> None:
    ours = np.ones(64 << 20, np.uint8)  # 64 MiB in this process must not be counted
    timed = run_timed([sys.executable, "-c", "import time; time.sleep(0.2); print('chatter')"])
    assert 0.2 < timed.seconds < 5
    assert 3 < timed.peak_mib < 60
    del ours


def test_memory_of_the_command_is_counted() -> None:
    assert run_timed([sys.executable, "-c", "bytearray(80 << 20)"]).peak_mib > 80


def test_a_command_that_fails_is_an_error_with_its_last_output() -> None:
    with pytest.raises(NstoptError, match=r"ended with exit code 3: no such thing"):
        run_timed([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])


def test_start_up_is_measured_at_a_size_that_the_engine_takes(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def timed(command: Sequence[str]) -> TimedCommand:
        if "stylize" in command:
            shapes.append(read_picture(Path(command[command.index("stylize") + 2])).rgb.shape)
        return TimedCommand(0.25, 100.0)

    monkeypatch.setattr(startup, "run_timed", timed)
    found = measure_startup(make_bundle("several", InputShape(1, Sizes(Size(24, 48), Size(32, 32)))), repeats=1)
    assert shapes == [(24, 48, 3)]
    assert [(figure.value, figure.within) for figure in found.measures] == [(0.25, True), (0.25, True), (100.0, True)]
