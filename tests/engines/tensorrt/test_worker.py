"""The first run of a plan in the process that builds it, on doubles of cuda-python and tensorrt; and what is left of a
measurement if such a process crashes."""

from __future__ import annotations

import importlib
import math
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from nstopt.engines import tensorrt
from nstopt.engines.tensorrt import BACKEND, requirements
from nstopt.errors import BuildError, DeviceError
from nstopt.gpu.driver import GpuDevice

from .conftest import LAUNCH, SMALL, Host, model
from .host_tensorrt import MAGIC, plan_of

RTX_3060 = GpuDevice("NVIDIA GeForce RTX 3060", (8, 6), 12.0, "580.1", "13.0")
# Crashes if a convolution is named so; else makes a plan for the double.
CRASHING = """
    import json, os, pathlib, signal, sys
    request = json.loads(pathlib.Path(sys.argv[1]).read_bytes())
    graph, folder = pathlib.Path(request["model"]).read_bytes(), pathlib.Path(request["folder"])
    if "crash" in request["graph"]["convolutions"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    (folder / "engine.plan").write_bytes(MAGIC + b"[]\\n" + graph)
    (folder / "layers.json").write_text("{}")
    (folder / "build.log").write_text("")
    print('{"type": "finished", "version": "10.8.0"}')
"""


@pytest.fixture
def worker(host: Host) -> Iterator[Any]:
    """The module, imported with the doubles."""
    name = "nstopt.engines.tensorrt.worker"
    sys.modules.pop(name, None)
    yield importlib.import_module(name)
    sys.modules.pop(name)


def test_a_plan_is_run_once(worker: Any, host: Host) -> None:
    worker.run_once(plan_of(model()), {"image": (1, *SMALL, 3)})
    worker.run_once(plan_of(model(1, "h", "w"), [(1, *SMALL, 3)]), {"image": (1, *SMALL, 3)})
    host.cuda.fail("kernel", LAUNCH)
    with pytest.raises(DeviceError, match=LAUNCH):
        worker.run_once(plan_of(model()), {"image": (1, *SMALL, 3)})


@pytest.fixture
def builds(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Builds end as CRASHING has it, on a machine with an RTX 3060."""
    (tmp_path / "worker_of_test.py").write_text(f"MAGIC = {MAGIC!r}\n{textwrap.dedent(CRASHING)}")
    monkeypatch.setattr("nstopt.engines.tensorrt.build.WORKER", "worker_of_test")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(tensorrt, "require_gpu", lambda action: RTX_3060)
    for module in (tensorrt, requirements):
        monkeypatch.setattr(module, "installed", lambda: "10.8.0")


def renamed(name: str) -> bytes:
    """Return a model whose convolution has this name."""
    proto = onnx.load_from_string(model())
    next(node for node in proto.graph.node if node.op_type == "Conv").name = name
    serialized: bytes = proto.SerializeToString()
    return serialized


def test_a_model_that_crashes_takes_infinitely_long(builds: None) -> None:
    feed = {"image": np.zeros((1, *SMALL, 3), np.uint8)}
    first, second, third = BACKEND.measure([model(), renamed("crash"), model()], "fp32", feed, rounds=1)
    assert second == math.inf
    assert max(first, third) < math.inf
    with pytest.raises(BuildError, match="was killed by signal 11: no error message; its log and its graph are in"):
        BACKEND.measure([renamed("crash")], "fp32", feed)
