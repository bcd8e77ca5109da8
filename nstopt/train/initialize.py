"""Random initialization of new nets."""

from __future__ import annotations

import torch
from torch import nn


def initialized(module: nn.Module, seed: int, device: torch.device) -> nn.Module:
    """Return `module`, which is on the meta device, on `device` with PyTorch's default random weights for `seed`.

    The weights are drawn on the CPU, so that they are the same on every device. The global random state is kept.
    """
    module = module.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
    return module.to(device)
