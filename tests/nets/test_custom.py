"""Nets of no known family: a class, a TorchScript file, a torch.export file; and options that do not apply."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nstopt.errors import CheckpointError
from nstopt.nets import Convention, load_net
from nstopt.nets.checkpoint import read_state_dict
from nstopt.nets.custom import load_program

from . import layouts

UNIT = Convention(input_range=(0.0, 1.0), output_range=(0.0, 1.0))
SOURCE = """
import torch

class Tiny(torch.nn.Conv2d):
    def __init__(self):
        super().__init__(3, 3, 1)

class Needy(torch.nn.Module):
    def __init__(self, width):
        super().__init__()

def number():
    return 3
"""


class Scaled(nn.Module):
    """A net that torch.jit.script and torch.export accept."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a checkpoint of user_nets:Tiny, and user_nets.py in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "user_nets", raising=False)
    (tmp_path / "user_nets.py").write_text(SOURCE)
    path = tmp_path / "tiny.pth"
    torch.save({"weight": torch.eye(3).reshape(3, 3, 1, 1) * 2, "bias": torch.zeros(3)}, path)
    return path


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt"  # state dicts have this suffix too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Scaled()).save(str(path))
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    sizes = {0: None, 1: None, 2: torch.export.Dim("H", min=8), 3: torch.export.Dim("W", min=8)}
    program = torch.export.export(Scaled(), (torch.rand(1, 3, 16, 16),), dynamic_shapes={"x": sizes})
    torch.export.save(program, path)
    return path


def test_a_class_in_the_working_folder(tiny: Path) -> None:
    net = load_net(tiny, arch="user_nets:Tiny", convention=UNIT, multiple=8)
    assert (net.family, net.widths, net.blocks, net.convention, net.multiple) == ("custom", (), 0, UNIT, 8)
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(net.module(x), 2 * x)
    assert not net.module.training


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("user_nets", "it must be package.module:Class"),
        ("user_nets:Tiny()", "it must be package.module:Class"),
        ("no_such_package.nets:Tiny", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("user_nets:Large", "AttributeError: .*Large"),
        ("user_nets:Needy", "TypeError: .*width"),
        ("user_nets:number", "gives a int, not a torch.nn.Module"),
    ],
)
def test_bad_arch(tiny: Path, arch: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_program(tiny, arch)


def test_a_checkpoint_of_another_class(tiny: Path) -> None:
    torch.save({"weight": torch.zeros(3, 3, 3, 3), "other": torch.zeros(1)}, tiny)
    message = r"wrong shape: weight is \[3, 3, 3, 3\] instead of \[3, 3, 1, 1\]; missing: bias; unexpected: other"
    with pytest.raises(CheckpointError, match=message):
        load_net(tiny, arch="user_nets:Tiny", convention=UNIT)


def test_torchscript(script: Path) -> None:
    net = load_net(script, convention=UNIT)
    assert (net.family, net.multiple) == ("custom", 4)
    torch.testing.assert_close(net.module(torch.ones(1, 3, 8, 8)), torch.full((1, 3, 8, 8), 0.5))


def test_torch_export(exported: Path) -> None:
    net = load_net(exported, convention=UNIT)
    net.module.eval()
    assert not any(parameter.requires_grad for parameter in net.module.parameters())
    torch.testing.assert_close(net.module(torch.ones(1, 3, 24, 12)), torch.full((1, 3, 24, 12), 0.5))


def rewrite(source: Path, target: Path, replace: dict[str, bytes]) -> Path:
    """Copy an archive with new contents for the members whose names end with a key of `replace`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = next((data for end, data in replace.items() if name.endswith(end)), old.read(name))
            new.writestr(name, data)
    return target


class Touch:
    """An object that torch's safe unpickler refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[type[Path], tuple[str]]:
        return Path, (str(self.path),)


@pytest.mark.parametrize(
    "member", ["sample_inputs/model.pt", "model_weights_config.json", "model_constants_config.json"]
)
def test_exported_programs_with_pickled_objects_are_refused(exported: Path, tmp_path: Path, member: str) -> None:
    pickled = {"scale": {"path_name": "weight_0", "use_pickle": True}}
    opaque = {"x": {"path_name": "opaque_obj_0", "use_pickle": False}}
    data = {
        "sample_inputs/model.pt": pickle.dumps(Touch(tmp_path)),
        "model_weights_config.json": json.dumps({"config": pickled}).encode(),
        "model_constants_config.json": json.dumps({"config": opaque}).encode(),
    }
    bad = rewrite(exported, tmp_path / "bad.pt2", {member: data[member]})
    with pytest.raises(CheckpointError, match=f"pickled Python objects in .*{member}, and nstopt never unpickles code"):
        load_net(bad, convention=UNIT)


def test_damaged_programs(script: Path, exported: Path, tmp_path: Path) -> None:
    bad_script = rewrite(script, tmp_path / "bad.pt", {".py": b"def nonsense("})
    with pytest.raises(CheckpointError, match="cannot load the TorchScript file"):
        load_net(bad_script, convention=UNIT)
    bad_export = rewrite(exported, tmp_path / "bad.pt2", {"models/model.json": b"{"})
    with pytest.raises(CheckpointError, match=r"cannot load the torch\.export file"):
        load_net(bad_export, convention=UNIT)


def test_a_convention_must_be_stated(script: Path) -> None:
    with pytest.raises(CheckpointError, match="state its input range with --input-range"):
        load_net(script)


def test_options_that_do_not_apply(script: Path, tmp_path: Path) -> None:
    johnson = tmp_path / "johnson.pth"
    torch.save(layouts.johnson(), johnson)
    with pytest.raises(CheckpointError, match="is a johnson net, which has a convention and multiple of its own"):
        load_net(johnson, convention=UNIT)
    with pytest.raises(CheckpointError, match="is a johnson net, which has a convention and multiple of its own"):
        load_net(johnson, multiple=8)
    with pytest.raises(CheckpointError, match="belong to AdaIN decoders, and this is a johnson net"):
        load_net(johnson, alpha=0.5)
    with pytest.raises(CheckpointError, match="belong to AdaIN decoders, and this is a custom net"):
        load_net(script, convention=UNIT, vgg=johnson)
    with pytest.raises(CheckpointError, match="a program that contains its architecture"):
        load_net(script, convention=UNIT, arch="user_nets:Tiny")
    with pytest.raises(CheckpointError, match=r"is a TorchScript or .* not a state dict: it is a net by itself"):
        read_state_dict(script)
    with pytest.raises(CheckpointError, match="multiple of a net's height and width is 0"):
        load_net(script, convention=UNIT, multiple=0)
