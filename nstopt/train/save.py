"""A trained net as a file: FP16 safetensors, with how it came about in the file's own metadata."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from nstopt.errors import CheckpointError
from nstopt.files import atomic_path
from nstopt.nets import johnson
from nstopt.train.johnson import JohnsonSpec, Losses


def mean_losses(history: Sequence[Losses]) -> Losses:
    """The averages over some steps, which are less noisy than one step; `step` is the last one."""
    return Losses(
        step=history[-1].step,
        content=statistics.fmean(losses.content for losses in history),
        style=statistics.fmean(losses.style for losses in history),
        variation=statistics.fmean(losses.variation for losses in history),
    )


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


def save_net(path: Path, state: Mapping[str, Tensor], spec: JohnsonSpec, losses: Losses) -> None:
    """Write `state` in FP16 to `path`, atomically. Raises CheckpointError if that cannot be done."""
    check_writable(path)
    half = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    if bad := [name for name, tensor in half.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(f"{path} is not written, {bad[0]} is not finite: train with a lower learning rate")
    try:
        with atomic_path(path) as temporary:
            save_file(half, temporary, _metadata(spec, losses))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error


def _metadata(spec: JohnsonSpec, losses: Losses) -> dict[str, str]:
    """The spec's numbers, the style picture's bare name, and the losses: no path of the machine that trained."""
    numbers = {name: str(value) for name, value in asdict(spec).items() if not isinstance(value, Path)}
    final = {f"{name}_loss": f"{value:.6g}" for name, value in asdict(losses).items() if name != "step"}
    return {"family": johnson.NAME, "style": spec.style.name, **numbers, **final}
