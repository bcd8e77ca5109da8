"""A trained net as a file: FP16 safetensors, with how it came about in the file's own metadata."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from nstopt.errors import CheckpointError
from nstopt.files import atomic_path


def check_writable(path: Path) -> None:
    """Raises CheckpointError if `save_net` could not write there: to be known before a training, not after it."""
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a trained net is written as .safetensors; give a name that ends so")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error


def save_net(path: Path, state: Mapping[str, Tensor], settings: Mapping[str, str], losses: Mapping[str, float]) -> None:
    """Write `state` in FP16 to `path`, atomically, with the settings and the final losses as its metadata. Raises
    CheckpointError if that cannot be done."""
    check_writable(path)
    half = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    if bad := [name for name, tensor in half.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(f"{path} is not written, {bad[0]} is not finite: train with a lower learning rate")
    final = {f"{name}_loss": f"{value:.6g}" for name, value in losses.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(half, temporary, {**settings, **final})
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error


def settings_of(spec: Any) -> dict[str, str]:
    """A spec's fields as text, those of specs inside it too. Of a file only the bare name: no path of the machine that
    trained goes into a net."""
    settings: dict[str, str] = {}
    for field in fields(spec):
        value = getattr(spec, field.name)
        if is_dataclass(value):
            settings |= settings_of(value)
        else:
            settings[field.name] = value.name if isinstance(value, Path) else str(value)
    return settings
