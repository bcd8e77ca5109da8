"""Peers that run in torch, eager or compiled by it, on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from nstopt.bench.peers.peer import PeerSubject, picture_module
from nstopt.bench.subject import Stylize
from nstopt.errors import BuildError, DeviceError

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture


def torch_eager(subject: PeerSubject, half: bool = False) -> Stylize:
    """Run on the CPU; with `half`, in torch's own mixed precision (autocast)."""
    return _torch(picture_module(subject), half=half)


def torch_channels_last(subject: PeerSubject) -> Stylize:
    import torch

    return _torch(picture_module(subject).to(memory_format=torch.channels_last))


def torch_cuda(subject: PeerSubject, half: bool = False) -> Stylize:
    """Run on the GPU; with `half`, in torch's own mixed precision (autocast), whatever the net's family."""
    return _torch(_cuda_module(subject), "cuda", half)


def _cuda_module(subject: PeerSubject) -> Any:
    import torch

    if not torch.cuda.is_available():
        raise DeviceError(
            f"the peer {subject.peer.name} needs an NVIDIA GPU and a build of torch with CUDA that knows it, which "
            "nstopt doctor names; or leave it out of --compare"
        )
    torch.backends.cudnn.allow_tf32 = False
    return picture_module(subject).cuda()


def torch_compile(subject: PeerSubject, device: str = "cpu", half: bool = False) -> Stylize:
    """Compile the net at once. torch does so at the first call, which would otherwise count as warm-up.

    Raises BuildError if torch cannot compile it.
    """
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more would be processes that outlive this one
    import torch

    module = _cuda_module(subject) if device == "cuda" else picture_module(subject)
    stylize = _torch(torch.compile(module, dynamic=False), device, half)
    pictures = np.zeros((subject.batch, *subject.size, 3), np.uint8)
    try:
        stylize(pictures, np.empty_like(pictures))
    except Exception as error:  # torch, its compiler and the C++ compiler each raise their own
        reason = str(error).strip().splitlines()
        raise BuildError(
            f"torch.compile cannot compile {subject.peer.checkpoint}: {reason[0] if reason else type(error).__name__}; "
            "it needs a C++ compiler (g++) and Python's headers: install them, or leave "
            f"{subject.peer.name} out of --compare"
        ) from error
    return stylize


def _torch(module: Any, device: str = "cpu", half: bool = False) -> Stylize:
    """Wrap a module. Copies to the device and back are part of a call, as they are in an engine's. With `half`, torch
    computes what may be less precise in FP16 on a GPU and in BF16 on a CPU."""
    import torch

    dtype = torch.float16 if device == "cuda" else torch.bfloat16

    @torch.inference_mode()
    def stylize(pictures: Picture, out: Picture) -> None:
        with torch.autocast(device, dtype, enabled=half):
            np.copyto(out, module(torch.from_numpy(pictures).to(device)).cpu().numpy())

    return stylize
