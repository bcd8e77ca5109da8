"""Nobody is told what nstopt is used for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN = """
import nstopt
from nstopt.engines import onnxruntime, openvino
"""


def test_the_runtimes_keep_nothing_to_send(tmp_path: Path) -> None:
    """Each would leave an identity of the machine in the home folder."""
    hidden = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI")
    home = {name: value for name, value in os.environ.items() if name not in hidden} | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", RUN], env=home, check=True)
    assert list(tmp_path.rglob("*")) == []
