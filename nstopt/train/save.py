"""A trained net as a file: FP16 safetensors, with how it came about in the file's own metadata."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from nstopt.errors import CheckpointError
from nstopt.files import atomic_path
from nstopt.train.johnson import JohnsonSpec, Losses


def mean_losses(history: Sequence[Losses]) -> Losses:
    """The averages over some steps, which are less noisy than one step; `step` is the last one."""
    return Losses(
        step=history[-1].step,
        content=statistics.fmean(losses.content for losses in history),
        style=statistics.fmean(losses.style for losses in history),
        variation=statistics.fmean(losses.variation for losses in history),
    )


def save_net(path: Path, state: Mapping[str, Tensor], spec: JohnsonSpec, losses: Losses) -> None:
    """Write `state` in FP16 to `path`, atomically. Raises CheckpointError if that cannot be done."""
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a trained net is written as .safetensors; give a name that ends so")
    half = {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}
    if bad := [name for name, tensor in half.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(f"{path} is not written, {bad[0]} is not finite: train with a lower learning rate")
    try:
        with atomic_path(path) as temporary:
            save_file(half, temporary, _metadata(spec, losses))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error


def _metadata(spec: JohnsonSpec, losses: Losses) -> dict[str, str]:
    """Numbers and bare file names only: no path of the machine that trained."""
    return {
        "family": "johnson",
        "style": spec.style.name,
        "widths": ",".join(map(str, spec.widths)),
        "blocks": str(spec.blocks),
        "steps": str(spec.steps),
        "batch": str(spec.batch),
        "seed": str(spec.seed),
        "content_loss": f"{losses.content:.6g}",
        "style_loss": f"{losses.style:.6g}",
        "variation_loss": f"{losses.variation:.6g}",
    }
