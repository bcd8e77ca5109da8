"""The first run of a program from outside: what it does to its process is an error, and a known file is not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from made import ANY_SIZE, inverter
from onnx import TensorProto, helper, numpy_helper

from nstopt import trial
from nstopt.errors import CheckpointError, ExportError
from nstopt.export.trial import require_runs
from nstopt.nets import load_net

ENDINGS = {
    "os.kill(os.getpid(), 11)": r"its first run crashed \(SIGSEGV\)",
    "os._exit(0)": "its first run ended the process, with exit code 0",
}


def endless() -> onnx.ModelProto:
    """A graph that loops while true is true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.UINT8, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.UINT8, None),
        ],
    )
    model = inverter(ANY_SIZE)
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Loop", ["", "true", "image"], ["stylized"], body=body))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    return model


def test_a_graph_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(endless(), tmp_path / "net.onnx")
    monkeypatch.setattr(trial, "SECONDS", 2.0)
    with pytest.raises(ExportError, match=r"net\.onnx: its first run took over 2 seconds and was ended"):
        require_runs(tmp_path / "net.onnx", ANY_SIZE)


def test_a_graph_that_runs_is_known_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    model = inverter(ANY_SIZE)
    model.opset_import[0].version = 99
    onnx.save(model, path)
    assert "opset" in require_runs(path, ANY_SIZE)
    assert not trial.is_known(path)
    onnx.save(inverter(ANY_SIZE), path)
    assert require_runs(path, ANY_SIZE) == ""
    assert trial.is_known(path)
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    assert require_runs(path, ANY_SIZE) == ""


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_class_that_ends_its_process(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    (tmp_path / "hostile.py").write_text(f"import os\n\ndef Net():\n    {ending}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=ENDINGS[ending]):
        load_net(tiny_checkpoint, arch="hostile:Net")
