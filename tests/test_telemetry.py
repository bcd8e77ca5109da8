"""Vendor libraries report nothing, and importing nstopt changes nothing in the host program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
from nstopt.engines import onnxruntime, openvino
"""
CONVERT = """
import onnx
from nstopt.calib.fp16 import to_fp16
net = '<ir_version: 8, opset_import: ["": 17]> net (float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) { y = Relu(x) }'
to_fp16(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(net)))
"""
QUANTIZE = """
from pathlib import Path
from nstopt.bench.peers import Peer, PeerSubject
from nstopt.bench.peers.in_openvino import write_nncf_model
from nstopt.nets import load_net
from nstopt.pictures.size import Size
from nstopt.samples import SAMPLE
subject = PeerSubject(Peer("nncf", SAMPLE), load_net(SAMPLE).source_sha256, Size(64, 64), 1)
write_nncf_model(subject, Path("nncf.xml"))
"""
RAY = """
from nstopt.cluster.client import ray
from ray._common.usage.usage_lib import usage_stats_enabled
assert not usage_stats_enabled()
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
    check_home_stays_empty(RUN, tmp_path)


def test_the_converter_to_fp16_keeps_nothing_to_send(tmp_path: Path) -> None:
    check_home_stays_empty(CONVERT, tmp_path)


def test_nncf_keeps_nothing_to_send(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    check_home_stays_empty(QUANTIZE, tmp_path)


def check_home_stays_empty(program: str, folder: Path) -> None:
    """Each library would leave an identity of the machine in the home folder."""
    (folder / "home").mkdir()
    (folder / "work").mkdir()
    hidden = ("ORT_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED", "XDG_CACHE_HOME", "CI")
    home = {name: value for name, value in os.environ.items() if name not in hidden} | {"HOME": str(folder / "home")}
    subprocess.run([sys.executable, "-c", program], env=home, cwd=folder / "work", check=True)
    assert list((folder / "home").rglob("*")) == []


def test_ray_reports_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    check_home_stays_empty(RAY, tmp_path)


def test_importing_nstopt_changes_nothing_in_the_host_program() -> None:
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
