"""Every door on changed input: one clear line or success, never a crash, a hang, a traceback or a "bug in nstopt".

`make fuzz` tries other seeds for as long as it is told, and keeps what ends badly in found/, which is tried here too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from .mutations import mutate_bytes, mutate_json

Mutate = Callable[[bytes, Random], bytes]
TESTS = Path(__file__).parents[1]


def test_changed_input_ends_as_it_should() -> None:
    """In a process of its own, without the threads of the runtimes that other tests have used."""
    command = [sys.executable, "-m", "fuzz", "--seeds", "20"]
    ran = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count(" 20 tried, 0 ended badly") >= 10


@pytest.mark.parametrize("mutate", [mutate_bytes, mutate_json])
def test_a_seed_gives_one_change(mutate: Mutate) -> None:
    raw = b'{"a": [1, 2, {"b": null}], "c": "text"}'
    changes = [mutate(raw, Random(seed)) for seed in range(50)]
    assert changes == [mutate(raw, Random(seed)) for seed in range(50)]
    assert len(set(changes)) > 25
