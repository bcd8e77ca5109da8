"""Peers: other ways to run the same net, timed in the same run as our engines.

    peer.py          the types
    in_torch.py      peers that run in torch
    from_export.py   peers that are compiled from the raw export
    in_openvino.py   OpenVINO with its default options, on the raw export and on what NNCF makes of it

A new peer is one function and one line of PEERS. A peer keeps the contract of an engine: uint8 RGB [N, H, W, 3] in and
out, with casts, normalization and padding included. Its library runs as its users run it, with default settings, so
OpenVINO computes in BF16 where the CPU has it. There are two exceptions. `openvino-fp32` and `nncf-fp32` run with the
options of our engines, which rule BF16 out. And on a GPU, torch and ONNX Runtime compute FP32 as our engines do, while
their convolutions are TF32 otherwise. torch chooses its own number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nstopt.bench.peers.from_export import (
    from_bundle,
    onnxruntime_cuda,
    write_raw_export,
    write_raw_tensorrt,
    write_raw_torchscript,
)
from nstopt.bench.peers.in_openvino import (
    computes,
    computes_int8,
    from_model,
    write_nncf_bundle,
    write_nncf_model,
    write_raw_model,
)
from nstopt.bench.peers.in_torch import torch_channels_last, torch_compile, torch_cuda, torch_eager
from nstopt.bench.peers.peer import Kind, Peer, PeerSubject
from nstopt.errors import BuildError
from nstopt.extras import require

__all__ = ["ELSEWHERE", "PEERS", "Kind", "Peer", "PeerSubject", "kind_of", "named"]

PEERS = {
    "torch": Kind("torch eager", "torch", "fp32", torch_eager),
    "torch-channels-last": Kind("torch channels-last", "torch", "fp32", torch_channels_last),
    "torch-compile": Kind("torch.compile", "torch", "fp32", torch_compile),
    "torchscript": Kind("TorchScript", "torchscript", "fp32", partial(from_bundle, write_raw_torchscript)),
    "onnxruntime": Kind(
        "ONNX Runtime", "onnxruntime", "fp32", partial(from_bundle, partial(write_raw_export, "onnxruntime"))
    ),
    "openvino": Kind("OpenVINO", "openvino", "fp32", partial(from_model, write_raw_model), computes),
    "openvino-fp32": Kind(
        "OpenVINO FP32", "openvino", "fp32", partial(from_bundle, partial(write_raw_export, "openvino"))
    ),
    "torch-bf16": Kind("torch eager, BF16", "torch", "bf16", partial(torch_eager, half=True)),
    "torch-compile-bf16": Kind("torch.compile, BF16", "torch", "bf16", partial(torch_compile, half=True)),
    "nncf": Kind("NNCF INT8", "openvino", "int8", partial(from_model, write_nncf_model), computes_int8),
    "nncf-fp32": Kind("NNCF INT8, FP32 between", "openvino", "int8", partial(from_bundle, write_nncf_bundle)),
    "torch-cuda": Kind("torch eager, GPU", "torch-cuda", "fp32", torch_cuda),
    "torch-cuda-fp16": Kind("torch FP16, GPU", "torch-cuda", "fp16", partial(torch_cuda, half=True)),
    "torch-compile-cuda": Kind("torch.compile, GPU", "torch-cuda", "fp32", partial(torch_compile, device="cuda")),
    "onnxruntime-cuda": Kind("ONNX Runtime, GPU", "onnxruntime-cuda", "fp32", onnxruntime_cuda),
    "tensorrt-raw": Kind("TensorRT FP16", "tensorrt", "fp16", partial(from_bundle, write_raw_tensorrt)),
}
ALL = "all"
ON_GPU = ("torch-cuda", "torch-cuda-fp16", "torch-compile-cuda", "onnxruntime-cuda", "tensorrt-raw")
# torch emulates BF16 where the CPU lacks it: 3 times slower than FP32 with AVX-512, 70 times with AVX2.
NEED_BF16 = ("torch-bf16", "torch-compile-bf16")
NEED_NNCF = ("nncf", "nncf-fp32")
ELSEWHERE = (*NEED_BF16, *NEED_NNCF, *ON_GPU)


def kind_of(peer: Peer) -> Kind:
    """Look up a peer in PEERS. Raises BuildError for an unknown name."""
    _check(peer.name)
    return PEERS[peer.name]


def _check(name: str) -> None:
    if name not in PEERS:
        raise BuildError(f"unknown peer '{name}'; there are: {', '.join(PEERS)}")


def named(names: Sequence[str]) -> list[str]:
    """Expand "all" into the peers that a plain installation of nstopt can run on any CPU, and drop repeated names.

    Raises BuildError for an unknown name, DeviceError if torch is missing.
    """
    for name in names:
        if name != ALL:
            _check(name)
    if names:
        require("torch", "--compare")  # every peer runs the net's own file or an export of it
    own = [name for name in PEERS if name not in ELSEWHERE]
    return list(dict.fromkeys(one for name in names for one in (own if name == ALL else [name])))
