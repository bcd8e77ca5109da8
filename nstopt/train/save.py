"""Save a trained net as FP16 safetensors, with the training's settings and final losses in the file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from nstopt import files
from nstopt.errors import CheckpointError


def check_writable(path: Path) -> None:
    """Raise CheckpointError if `save_net` could not write to `path`. To be called before a training starts."""
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a trained net is saved as .safetensors; give a name with this suffix")
    try:
        files.check_writable(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error


def save_net(path: Path, state: Mapping[str, Tensor], settings: Mapping[str, str], losses: Mapping[str, float]) -> None:
    """Write `state` in FP16 to `path`, atomically, with the settings and the final losses as metadata.

    Raises CheckpointError if the file cannot be written, or a weight is not finite in FP16.
    """
    check_writable(path)
    half = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    if bad := [name for name, tensor in half.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(f"{path} is not written, {bad[0]} is not finite: train with a lower learning rate")
    final = {f"{name}_loss": f"{value:.6g}" for name, value in losses.items()}
    try:
        with files.atomic_path(path) as temporary:
            save_file(half, temporary, {**settings, **final})
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error


def settings_of(spec: Any) -> dict[str, str]:
    """Return the fields of a spec, and of specs nested in it, as text.

    Paths are reduced to the file name, so that no path of the training machine gets into the net's metadata.
    """
    settings: dict[str, str] = {}
    for field in fields(spec):
        value = getattr(spec, field.name)
        if is_dataclass(value):
            settings |= settings_of(value)
        else:
            settings[field.name] = value.name if isinstance(value, Path) else str(value)
    return settings
