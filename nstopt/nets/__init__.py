"""Load a trained net: read the checkpoint, recognize the architecture, attach its convention.

A new family needs one file that defines a `Family`, and one entry in `recognize.FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from nstopt.errors import CheckpointError
from nstopt.nets import adain, checkpoint, custom
from nstopt.nets.adain import Style
from nstopt.nets.layout import Family, State
from nstopt.nets.net import Convention, Net
from nstopt.nets.recognize import recognize
from nstopt.trial import is_known, remember, run_first

__all__ = ["Convention", "Net", "Style", "load_net"]


def load_net(
    path: Path | str,
    *,
    arch: str | None = None,
    convention: Convention | None = None,
    multiple: int | None = None,
    vgg: Path | str | None = None,
    styles: Sequence[Style] = (),
    alpha: float = 1.0,
) -> Net:
    """Load the net of a checkpoint: a state-dict file or folder, a TorchScript file, or a torch.export file.

    Known families are recognized by their tensors and bring their own convention and multiple. Any other net needs
    `convention` and accepts `multiple` (default 4): a class named by `arch` ("package.module:Class"), or a program
    file. `vgg`, `styles` and `alpha` apply to AdaIN decoders only; see `adain.bake`.

    Raises CheckpointError if the file cannot be read, holds no known net, or an option does not apply to it.
    Raises MediaError if a style picture cannot be read.
    """
    path = Path(path)
    has_adain_options = vgg is not None or len(styles) > 0 or alpha != 1.0
    checkpoint.check_exists(path)
    if (module := _custom_module(path, arch)) is not None:
        _refuse_adain_options(has_adain_options, custom.NAME)
        return _custom_net(path, module, convention, multiple)
    state = checkpoint.read_state_dict(path)
    family, blueprint = recognize(state, str(path))
    if convention is not None or multiple is not None:
        raise CheckpointError(
            f"{path} is a {family.name} net, which has a convention and multiple of its own: leave these options out"
        )
    if family is adain.FAMILY:
        vgg_state = None if vgg is None else checkpoint.read_state_dict(Path(vgg))
        module, widths = adain.bake(state, vgg_state, styles, alpha)
        return _family_net(path, family, widths, 0, module, (adain.describe(styles, alpha),))
    _refuse_adain_options(has_adain_options, family.name)
    current = family.current(state)
    module = blueprint.fill(current)
    return _family_net(path, family, blueprint.widths, blueprint.blocks, module, _dropped(state, current))


def _custom_module(path: Path, arch: str | None) -> nn.Module | None:
    """Load a net that needs no recognition: a program file or a class. Return None for a state dict of a family."""
    is_program = checkpoint.is_torchscript(path) or checkpoint.is_exported_program(path)
    if arch is not None and is_program:
        raise CheckpointError(f"{path} is a program that contains its architecture: leave --arch out")
    if arch is None and not is_program:
        return None
    custom.check_program(path, arch)
    sha256 = checkpoint.source_sha256(path)
    if arch is not None or not is_known(sha256):
        run_first("nstopt.nets.trial", path, arch or "", what=arch or str(path), kind=CheckpointError)
    module = custom.load_program(path, arch)
    if arch is None:
        remember(sha256)
    return module


def _custom_net(path: Path, module: nn.Module, convention: Convention | None, multiple: int | None) -> Net:
    if convention is None:
        raise CheckpointError(
            f"{path} is a net of no known family: state its input range with --input-range (and --mean, --std)"
        )
    multiple = custom.MULTIPLE if multiple is None else multiple
    if multiple < 1:
        raise CheckpointError(f"the multiple of a net's height and width is {multiple}, but must be at least 1")
    return Net(custom.NAME, (), 0, module, convention, multiple, checkpoint.source_sha256(path))


def _family_net(
    path: Path, family: Family, widths: tuple[int, ...], blocks: int, module: nn.Module, notes: tuple[str, ...]
) -> Net:
    sha256 = checkpoint.source_sha256(path)
    return Net(family.name, widths, blocks, module, family.convention, family.multiple, sha256, notes)


def _dropped(state: State, current: State) -> tuple[str, ...]:
    count = len(state) - len(current)
    return (f"dropped {count} running statistics that an old PyTorch saved and the net never used",) if count else ()


def _refuse_adain_options(given: bool, family: str) -> None:
    if given:
        raise CheckpointError(
            f"a VGG, styles and alpha belong to AdaIN decoders, and this is a {family} net: leave them out"
        )
