"""Nets of any other architecture: a class of the user's own, a TorchScript file, a torch.export .pt2 file."""

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

from nstopt.errors import CheckpointError
from nstopt.nets.layout import State, compare

NAME = "custom"
MULTIPLE = 4  # two stride-2 stages: what nearly all style nets have
SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Payload(msgspec.Struct, frozen=True):
    """How a .pt2 archive stores one tensor."""

    path_name: str
    use_pickle: bool


class PayloadConfig(msgspec.Struct, frozen=True):
    """A .pt2 archive's list of weights, or of constants."""

    config: dict[str, Payload]


class ExportedNet(nn.Module):
    """An exported program's module. It has one mode, evaluation, and its own `train` and `eval` raise."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.training = False

    def train(self, mode: bool = True) -> ExportedNet:
        """Does nothing."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, 3, H, W] to the same shape, at the sizes that the program was exported for."""
        out: Tensor = self.module(x)
        return out


def load_class(arch: str, state: State) -> nn.Module:
    """An instance of `arch`, "package.module:Class" (found as Python does, in the working folder too), with `state`.

    The class is made without arguments. Raises CheckpointError if it cannot be imported or made, or does not fit.
    """
    if not SPEC.fullmatch(arch):
        raise CheckpointError(f"cannot read --arch {arch!r}: it must be package.module:Class")
    module_name, _, class_name = arch.partition(":")
    try:
        with _working_folder_importable():
            made: object = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # the user's own code can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"cannot make --arch {arch}, imported and called without arguments: {reason}") from error
    if not isinstance(made, nn.Module):
        raise CheckpointError(f"--arch {arch} gives a {type(made).__name__}, not a torch.nn.Module")
    expected = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    if mismatch := compare(expected, state):
        raise CheckpointError(f"the checkpoint does not fit --arch {arch}; {mismatch.describe()}")
    made.load_state_dict(dict(state))
    return made.eval().requires_grad_(False)


def load_torchscript(path: Path) -> nn.Module:
    """The TorchScript program of `path`, in eval mode. Raises CheckpointError if it cannot be loaded."""
    try:
        with warnings.catch_warnings():
            # torch.jit is deprecated as a way to write new programs; existing files still have to be read.
            warnings.simplefilter("ignore", DeprecationWarning)
            module: nn.Module = torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"cannot load the TorchScript file {path}: {_first_line(error)}") from error
    for parameter in module.parameters():  # a ScriptModule has no requires_grad_ of its own
        parameter.requires_grad_(False)
    return module.eval()


def load_exported(path: Path) -> nn.Module:
    """The torch.export program of `path`. Raises CheckpointError if it cannot be loaded, or only by unpickling code."""
    try:
        _refuse_pickled_code(path)
        program = torch.export.load(path)
        return ExportedNet(program.module()).requires_grad_(False)
    except CheckpointError:
        raise
    except Exception as error:  # the archive's reader asserts and indexes its way through a damaged file
        raise CheckpointError(f"cannot load the torch.export file {path}: {_first_line(error)}") from error


def _refuse_pickled_code(path: Path) -> None:
    """Raises CheckpointError if torch.export.load, which can unpickle anything, would meet more than tensors in `path`.

    The archive's tensors are raw bytes unless their list says otherwise; example inputs are always a pickle.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise CheckpointError(f"{path} holds two files of one name, which no exporter writes")
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
    except Exception:  # whatever the reason, it is not plain
        return False
    return True


@contextlib.contextmanager
def _working_folder_importable() -> Iterator[None]:
    """Lets `import` see the working folder, as `python -m` does and an installed command does not."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
