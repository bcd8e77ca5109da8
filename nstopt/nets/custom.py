"""Nets of any other architecture: a user's class, a TorchScript file, a torch.export .pt2 file."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from nstopt.errors import CheckpointError, first_line, translated
from nstopt.nets import checkpoint
from nstopt.nets.layout import State, compare

NAME = "custom"
MULTIPLE = 4  # two stride-2 stages, as nearly all style nets have
SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Payload(msgspec.Struct, frozen=True):
    """The storage of one tensor in a .pt2 archive."""

    path_name: str
    use_pickle: bool


class PayloadConfig(msgspec.Struct, frozen=True):
    """The list of weights, or of constants, of a .pt2 archive."""

    config: dict[str, Payload]


class ExportedNet(nn.Module):
    """Wrapper of an exported program's module, whose own `train` and `eval` raise. It is always in eval mode."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.training = False

    def train(self, mode: bool = True) -> ExportedNet:
        """Do nothing: an exported program has one mode."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Run the program on float32 [N, 3, H, W] of a size that it was exported for."""
        out: Tensor = self.module(x)
        return out


def check_program(path: Path, arch: str | None) -> None:
    """Check what can be checked without running the program. Raises CheckpointError."""
    if arch is not None and not SPEC.fullmatch(arch):
        raise CheckpointError(f"cannot read --arch {arch!r}: it must be package.module:Class")
    if arch is None and checkpoint.is_exported_program(path):
        with translated(CheckpointError, f"cannot load the torch.export file {path}"):
            _refuse_pickled_code(path)


def load_program(path: Path, arch: str | None) -> nn.Module:
    """Load a program file, or the class `arch` with the state dict at `path`. Raises CheckpointError."""
    check_program(path, arch)
    if arch is not None:
        return load_class(arch, checkpoint.read_state_dict(path))
    return load_torchscript(path) if checkpoint.is_torchscript(path) else load_exported(path)


def load_class(arch: str, state: State) -> nn.Module:
    """Make an instance of the class `arch`, "package.module:Class", load `state`, and return it in eval mode, frozen.

    The module is imported from Python's path or the working folder; the class is called without arguments. Raises
    CheckpointError if it cannot be imported or called, or does not have the tensors of `state`.
    """
    module_name, _, class_name = arch.partition(":")
    try:
        with _working_folder_importable():
            made: object = getattr(importlib.import_module(module_name), class_name)()
    except (Exception, SystemExit, GeneratorExit) as error:  # the user's own code can raise anything
        raise CheckpointError(f"cannot import and call --arch {arch} without arguments: {first_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise CheckpointError(f"--arch {arch} gives a {type(made).__name__}, not a torch.nn.Module")
    with translated(CheckpointError, f"--arch {arch} does not tell its tensors"):
        expected = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    if mismatch := compare(expected, state):
        raise CheckpointError(f"the checkpoint does not fit --arch {arch}; {mismatch.describe()}")
    with translated(CheckpointError, f"the checkpoint does not fit --arch {arch}"):
        made.load_state_dict(dict(state))
    return made.eval().requires_grad_(False)


def load_torchscript(path: Path) -> nn.Module:
    """Load a TorchScript program in eval mode. Raises CheckpointError if it cannot be loaded."""
    with translated(CheckpointError, f"cannot load the TorchScript file {path}"), warnings.catch_warnings():
        # torch.jit is deprecated for new programs, but existing files still have to be read.
        warnings.simplefilter("ignore", DeprecationWarning)
        module: nn.Module = torch.jit.load(path, map_location="cpu")
    for parameter in module.parameters():  # a ScriptModule has no requires_grad_ of its own
        parameter.requires_grad_(False)
    return module.eval()


def load_exported(path: Path) -> nn.Module:
    """Load a torch.export program that `check_program` has found to be without pickled code. Raises CheckpointError if
    it cannot be loaded."""
    with translated(CheckpointError, f"cannot load the torch.export file {path}"):
        program = torch.export.load(path)
        return ExportedNet(program.module()).requires_grad_(False)


def _refuse_pickled_code(path: Path) -> None:
    """Raise CheckpointError if `path` holds pickled objects other than tensors, which torch.export.load would unpickle.

    The archive's tensors are raw bytes unless their list says otherwise; example inputs are always pickled.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise CheckpointError(f"{path} holds two files of the same name, which no exporter writes")
        for name in names:
            if name.endswith("_config.json"):
                payloads = msgspec.json.decode(archive.read(name), type=PayloadConfig).config.values()
                plain = all(p.path_name.startswith(("weight_", "tensor_")) and not p.use_pickle for p in payloads)
            elif name.endswith(".pt"):
                plain = _is_plain_pickle(archive.read(name))
            else:
                continue
            if not plain:
                raise CheckpointError(f"{path} holds pickled Python objects in {name}, and nstopt never unpickles code")


def _is_plain_pickle(data: bytes) -> bool:
    try:
        torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception:  # any failure means that it is not plain
        return False
    return True


@contextlib.contextmanager
def _working_folder_importable() -> Iterator[None]:
    """Make modules in the working folder importable, as `python -m` does and an installed command does not."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
