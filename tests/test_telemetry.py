"""Vendor libraries report nothing, and importing nstopt changes nothing in the host program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN = """
from nstopt.engines import onnxruntime, openvino
"""
IMPORT = """
import os, sys
environment, modules = dict(os.environ), set(sys.modules)
import nstopt
assert dict(os.environ) == environment
changed = {name for name in set(sys.modules) - modules if not name.startswith("nstopt")}
assert not {name for name in changed if sys.modules[name] is None or "telemetry" in name}, changed
"""


def test_the_runtimes_keep_nothing_to_send(tmp_path: Path) -> None:
    """Each would leave an identity of the machine in the home folder."""
    hidden = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "CI")
    home = {name: value for name, value in os.environ.items() if name not in hidden} | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", RUN], env=home, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_importing_nstopt_changes_nothing_in_the_host_program() -> None:
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
