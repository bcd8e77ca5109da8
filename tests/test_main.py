"""Exit codes of the process."""

from __future__ import annotations

import subprocess
import sys

# A C extension turns Ctrl-C during its import into an ImportError.
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
