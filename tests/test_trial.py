"""The first run of a program from outside: what it does to its process is an error, and a known file is not run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from made import ANY_SIZE, MakeBundle, inverter
from onnx import TensorProto, helper, numpy_helper

from nstopt import engines, trial
from nstopt.bundle import MANIFEST, open_bundle
from nstopt.engines.backend import Source
from nstopt.errors import BundleError, CheckpointError, ExportError
from nstopt.export.trial import require_runs
from nstopt.files import sha256_file
from nstopt.manifest import InputShape
from nstopt.nets import load_net
from nstopt.pictures.size import Size
from nstopt.pipeline.raw import build_raw
from nstopt.trial import on_trial

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


def dividing_the_least_integer() -> onnx.ModelProto:
    """A graph that divides -2^63 by -1, for which a CPU raises a signal."""
    model = inverter(ANY_SIZE)
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.INT64),
            helper.make_node("Mul", ["wide", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "least"], ["lowest"]),
            helper.make_node("Add", ["zeros", "minus"], ["negative"]),
            helper.make_node("Div", ["lowest", "negative"], ["divided"]),
            helper.make_node("Cast", ["divided"], ["stylized"], to=TensorProto.UINT8),
        ]
    )
    for name, value in (("zero", 0), ("least", -(2**63)), ("minus", -1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
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
    assert not trial.is_known(sha256_file(path))
    onnx.save(inverter(ANY_SIZE), path)
    assert require_runs(path, ANY_SIZE) == ""
    assert trial.is_known(sha256_file(path))
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    assert require_runs(path, ANY_SIZE) == ""


def as_if_from_elsewhere(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Forget what was built and run on this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "another user's cache"))


def onnx_bundle(folder: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, folder / "net.onnx")
    return build_raw(
        Source(folder / "net.onnx"), engines.backend("onnxruntime"), ANY_SIZE, "fp32", folder / "net.nst"
    ).path


def test_a_bundle_that_was_built_here_has_no_first_run(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    engines.load(make_bundle("own")).close()


def test_a_bundle_from_elsewhere_is_run_once(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle("foreign")
    as_if_from_elsewhere(monkeypatch, tmp_path)
    for _ in range(2):
        engines.load(path).close()
    assert trial.tried.count(path) == 1
    assert trial.is_known(open_bundle(path).sha256)


def test_a_bundle_whose_engine_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_bundle(tmp_path, endless())
    as_if_from_elsewhere(monkeypatch, tmp_path)
    monkeypatch.setattr(trial, "SECONDS", 4.0)
    with pytest.raises(BundleError, match=r"net\.nst: its first run took over 4 seconds and was ended"):
        engines.load(path)
    assert not trial.is_known(open_bundle(path).sha256)


def test_a_bundle_whose_engine_ends_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_bundle(tmp_path, dividing_the_least_integer())
    as_if_from_elsewhere(monkeypatch, tmp_path)
    with pytest.raises(BundleError, match=r"net\.nst: its first run crashed \(SIGFPE\)"):
        engines.load(path)


def test_an_error_of_the_first_run_is_that_of_the_load(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle("small", InputShape.of(1, Size(48, 64)))
    manifest = path / MANIFEST
    manifest.write_text(manifest.read_text().replace("64", "80", 1))
    manifest.with_name(f"{MANIFEST}.sha256").write_text(f"{sha256_file(manifest)}  {MANIFEST}\n")
    with pytest.raises(BundleError, match=r"small\.nst: not the engine that its manifest states"):
        engines.load(path)


def test_what_a_program_prints_is_no_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    child = os.fork()
    if child == 0:
        with on_trial():
            os.write(1, b"done\n")
            raise SystemExit("no")
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert capfd.readouterr().out == "SystemExit: no\ndone\n"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_class_that_ends_its_process(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    (tmp_path / "hostile.py").write_text(f"import os\n\ndef Net():\n    {ending}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=ENDINGS[ending]):
        load_net(tiny_checkpoint, arch="hostile:Net")
