"""Run the command in this process; a folder of good and bad input."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from conftest import SMALL, noise
from export.graphs import mixer, model_of
from made import build_inverter
from nets import layouts
from onnx import helper
from PIL import Image

from nstopt import trial
from nstopt.__main__ import main
from nstopt.manifest import InputShape


class Ran(NamedTuple):
    """Exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]
BLUR = np.full((3, 3, 21, 21), 1 / 1323, np.float32)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs `nstopt ARGUMENTS` in this process."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["nstopt", *map(str, arguments)])
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
        trial.tried.clear()  # by other tests of this process
        capfd.readouterr()
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as exit_:
            main()
        signal.signal(signal.SIGINT, handler)
        assert isinstance(exit_.value.code, int)
        return Ran(exit_.value.code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path) -> Path:
    """A folder of good and bad input, for tests that change nothing there."""
    folder = tmp_path_factory.mktemp("wrong")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fill(tiny_onnx)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Path) -> Path:
    """A copy of `wrong` as the working folder."""
    shutil.copytree(wrong, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(tiny_onnx: Path) -> None:
    """Write a tiny net, a bundle, a photograph, and broken files of each kind into the working folder."""
    checkpoint = tiny_onnx.with_suffix(".pth")
    state = torch.load(checkpoint, weights_only=True)
    shutil.copyfile(checkpoint, "net.pth")
    build_inverter(Path(), "net", InputShape.of(1, SMALL))
    shutil.copyfile(tiny_onnx, "net.onnx")
    shutil.copytree("net.nst", "changed.nst")
    content = bytearray(Path("changed.nst/model.bin").read_bytes())
    content[0] ^= 4
    Path("changed.nst/model.bin").write_bytes(content)
    Path("empty.pth").touch()
    Path("half.pth").write_bytes(checkpoint.read_bytes()[:5000])
    torch.save({"net": Path("code")}, "pickle.pth")
    torch.save(state | {"in1.weight": torch.zeros(9)}, "shape.pth")
    torch.save({"layers.0.weight": torch.zeros(3, 3, 3, 3)}, "unknown.pth")
    torch.save(layouts.adain_decoder(), "decoder.pth")
    Path("garbage.onnx").write_text("garbage")
    classifier = mixer()
    classifier.graph.output[0].type.tensor_type.shape.dim.pop()
    classifier.graph.output[0].type.tensor_type.shape.dim.pop()
    onnx.save(classifier, "classifier.onnx")
    onnx.save(mixer(), "user.onnx")
    onnx.save(model_of([helper.make_node("Conv", ["x", "w"], ["y"], pads=[10] * 4)], {"w": BLUR}), "large.onnx")
    Path("file").touch()
    Path("none").mkdir()
    for name in ("one", "mixed", "bad"):
        Path(name).mkdir()
    for name, size in (
        ("photo.png", (40, 60)),
        ("one/a.png", (40, 60)),
        ("mixed/a.png", (40, 60)),
        ("tiny.png", (9, 60)),
    ):
        Image.fromarray(noise(*size)).save(name)
    for name in ("text.png", "mixed/b.png", "bad/a.png", "bad/b.png"):
        Path(name).write_text("text")
