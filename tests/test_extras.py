"""Without optional packages: what still works, and the one line that says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL

from nstopt.errors import DeviceError
from nstopt.extras import explain_missing_packages, require
from nstopt.pipeline.ensure import SweepSpec, sweep

# Runs commands, one a line of stdin, where torch cannot be imported, and prints the exit code of each after it.
WITHOUT_TORCH = """
import shlex, sys
sys.modules["torch"] = None
from nstopt.__main__ import main
for line in sys.stdin:
    sys.argv = ["nstopt", *shlex.split(line)]
    try:
        main()
    except SystemExit as end:
        print("exit", end.code, file=sys.stderr)
"""
INSTALL = "needs torch, which is not installed: pip install 'nstopt[torch]'"


def test_each_command_that_needs_torch_says_so_in_one_line(
    tiny_onnx: Path, tiny_checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    photo = photos / "0.png"
    commands = {
        "export": "exporting",
        f"plan '{tiny_checkpoint}'": "exporting",
        f"distill '{tiny_checkpoint}' --data '{photos}' -o slim.safetensors": "reading a net's own file",
        f"train adain --style-dir '{photos}' --data '{photos}' --vgg vgg.pth -o net.safetensors": "training",
        f"gatys '{photo}' '{photo}' --lossnet vgg.pth -o out.png": "training",
        f"build-engine '{tiny_onnx}' --backend torchscript": "the torchscript backend",
        f"bench '{tiny_onnx}' --compare openvino": "--compare",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stderr.splitlines() == [
        line for task in commands.values() for line in (f"error: {task} {INSTALL}", "exit 1")
    ]


def test_a_sweep_over_all_backends_leaves_torchscript_out(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "nstopt.engines.torchscript", raising=False)
    swept = sweep(SweepSpec(tiny_onnx, tmp_path, sizes=[SMALL], backends=["all"]))
    assert f"torchscript: the torchscript backend {INSTALL}" in swept.left_out
    assert len(swept.bundles) == 2


def test_other_missing_modules_are_not_explained() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), explain_missing_packages():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401


def test_require(monkeypatch: pytest.MonkeyPatch) -> None:
    require("torch", "this test")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DeviceError, match="this test needs torch"):
        require("torch", "this test")
