"""The device and rank of a training process, alone or under torchrun."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nstopt.errors import DeviceError

TORCHRUN = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))  # variables it sets; defaults for one process


@dataclass(frozen=True)
class ProcessContext:
    """Process `rank` of `world` processes, on `device`. Process 0 writes the files."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def spread(self, module: nn.Module) -> nn.Module:
        """Wrap `module` so that its gradients are averaged over the processes; a single process needs no wrapper."""
        return DistributedDataParallel(module) if self.world > 1 else module

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of the processes' `values`, which it may overwrite."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values / self.world


@contextlib.contextmanager
def join_processes(device: str = "auto") -> Iterator[ProcessContext]:
    """Join the processes that torchrun started (it sets RANK, WORLD_SIZE and LOCAL_RANK); yield this one's context.

    `device` is cpu, cuda or auto, which takes a GPU if there is one. Each process takes a GPU of its own, with NCCL, or
    the CPU, with gloo. Raises DeviceError if there is no GPU for this process.
    """
    gpus = torch.cuda.device_count()
    rank, world, local = (int(os.environ.get(name, default)) for name, default in TORCHRUN)
    if device == "cuda" and not gpus:
        raise DeviceError("no CUDA GPU that this PyTorch can use: train on --device cpu, or install its CUDA build")
    on_gpu = device == "cuda" or (device == "auto" and gpus > 0)
    if on_gpu and local >= gpus:
        raise DeviceError(f"process {local} has no GPU of its own ({gpus} in all): start torchrun with fewer processes")
    place = ProcessContext(torch.device("cuda", local) if on_gpu else torch.device("cpu"), rank, world)
    if world > 1:
        distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield place
    finally:
        if world > 1:
            distributed.destroy_process_group()
