"""Memory of a process that shows pictures for hours."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from nstopt.live.memory import keep_memory_flat
keep_memory_flat()
assert gc.get_freeze_count() > 1000
import numpy, psutil
process = psutil.Process()
kept = [numpy.ones(1 << 20, numpy.uint8) for _ in range(64)]
full = process.memory_info().rss
del kept[::2], kept[1:]
print((full - process.memory_info().rss) >> 20)
"""


def test_pictures_go_back_to_the_system_when_they_are_freed() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 60
