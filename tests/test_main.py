"""How the process ends."""

from __future__ import annotations

import subprocess
import sys

# What a C extension makes of Ctrl-C while it starts.
INTERRUPTED = """
import signal
import nstopt.cli
from nstopt.__main__ import main

def half_imported(prog_name):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as interrupt:
        raise ImportError("initialization failed") from interrupt

nstopt.cli.app = half_imported
main()
"""


def test_ctrl_c_while_an_extension_is_imported() -> None:
    """In a process of its own: in one that others' libraries live in, a signal may find their handlers' stack gone."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
