"""Start-up: the stopwatch times a command in a process of its own."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nstopt.bench.startup import run_timed
from nstopt.errors import NstoptError


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
