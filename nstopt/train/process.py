"""Where a process of a training runs: its device, and which of several processes it is (under torchrun)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nstopt.errors import DeviceError

TORCHRUN = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))  # what it sets, and what stands for one process


@dataclass(frozen=True)
class ProcessContext:
    """Process `rank` of `world`. Process 0 writes the files."""

    device: torch.device
    rank: int = 0
    world: int = 1

    def spread(self, module: nn.Module) -> nn.Module:
        """`module`, made to average its gradients with those of the other processes."""
        return DistributedDataParallel(module) if self.world > 1 else module

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes of a tensor that each has one of."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values / self.world


@contextlib.contextmanager
def join_processes(device: str = "auto") -> Iterator[ProcessContext]:
    """This process's place: `device` cpu or cuda; auto takes a GPU where there is one. Under torchrun, which sets RANK,
    WORLD_SIZE and LOCAL_RANK, the processes meet here, each with a GPU of its own, or on the CPU by gloo.

    Raises DeviceError if there is no such GPU.
    """
    gpus = torch.cuda.device_count()
    rank, world, local = (int(os.environ.get(name, default)) for name, default in TORCHRUN)
    if device == "cuda" and not gpus:
        raise DeviceError("no CUDA GPU that this PyTorch can use: train on --device cpu, or install its CUDA build")
    on_gpu = device == "cuda" or (device == "auto" and gpus > 0)
    if on_gpu and local >= gpus:
        raise DeviceError(
            f"process {local} has no GPU of its own, there are {gpus}: start torchrun with fewer processes"
        )
    place = ProcessContext(torch.device("cuda", local) if on_gpu else torch.device("cpu"), rank, world)
    if world > 1:
        distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield place
    finally:
        if world > 1:
            distributed.destroy_process_group()
