"""How the process ends."""

from __future__ import annotations

import subprocess
import sys

# What a C extension makes of Ctrl-C while it starts.
INTERRUPTED = """
import signal
import nstopt.cli
from nstopt.__main__ import main

def app(prog_name):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise ImportError("initialization failed")

nstopt.cli.app = app
main()
"""


def test_ctrl_c_while_an_extension_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
