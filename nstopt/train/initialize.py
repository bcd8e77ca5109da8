"""New nets: storage and random weights for a plan's module."""

from __future__ import annotations

import torch
from torch import nn


def initialized(module: nn.Module, seed: int, device: torch.device) -> nn.Module:
    """`module`, which lies on the meta device, with PyTorch's usual random weights of this seed, on `device`.

    The weights are drawn on the CPU, so that they are the same everywhere; a caller's own randomness is left alone.
    """
    module = module.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
    return module.to(device)
