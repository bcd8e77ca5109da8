"""Peers: other ways to run the same net, timed in the same run as our engines. A new peer is one function and one
line.

A peer keeps the contract of an engine: uint8 [N, H, W, 3] in and out, casting, normalisation and padding included.
Its library runs with its default settings (OpenVINO: told to compute in FP32, as ours is); torch chooses its own number
of threads. Peers that are compiled are compiled from the raw export for the case's one size, without our rewrites, by
another process: the one that is timed holds the library that it times and nothing else.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nstopt.bench.subject import Stylise
from nstopt.engines.base import Picture
from nstopt.errors import BuildError, CheckpointError, DeviceError
from nstopt.size import Size


@dataclass(frozen=True)
class Peer:
    """A peer by its name in PEERS, the checkpoint it runs, and what else `nets.load_net` needs to read that
    checkpoint."""

    name: str
    checkpoint: Path
    net_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerSubject:
    """A peer, the hash of the checkpoint that our engines were made from, which must be its own, and the one size and
    batch that it will run on."""

    peer: Peer
    source_sha256: str
    size: Size
    batch: int

    def open(self) -> Stylise:
        """Raises CheckpointError if the checkpoint is unreadable or is not the one of the engines."""
        return kind_of(self.peer).open(self)


class Kind(NamedTuple):
    """What tables call a peer, the library it runs in, the precision it computes in, and how it is opened."""

    label: str
    backend: str
    precision: str
    open: Callable[[PeerSubject], Stylise]


def kind_of(peer: Peer) -> Kind:
    """Raises BuildError for a name that is not in PEERS."""
    _check(peer.name)
    return PEERS[peer.name]


def _check(name: str) -> None:
    if name not in PEERS:
        raise BuildError(f"unknown peer '{name}'; there are: {', '.join(PEERS)}")


def _torch_eager(subject: PeerSubject) -> Stylise:
    return _torch(_picture_module(subject))


def _torch_channels_last(subject: PeerSubject) -> Stylise:
    import torch

    return _torch(_picture_module(subject).to(memory_format=torch.channels_last))


def _torch_cuda(subject: PeerSubject, half: bool = False) -> Stylise:
    """With `half`, as torch's own mixed precision (autocast) has it: the net's family decides nothing."""
    return _torch(_cuda_module(subject), "cuda", half)


def _cuda_module(subject: PeerSubject) -> Any:
    import torch

    if not torch.cuda.is_available():
        raise DeviceError(
            f"the peer {subject.peer.name} needs an NVIDIA GPU and a build of torch with CUDA that knows it, which "
            "nstopt doctor names; or leave it out of --compare"
        )
    return _picture_module(subject).cuda()


def _onnxruntime_cuda(subject: PeerSubject) -> Stylise:
    import onnxruntime

    provider = "CUDAExecutionProvider"
    refused = DeviceError(
        f"the peer {subject.peer.name} needs an NVIDIA GPU and onnxruntime-gpu in place of onnxruntime; or leave it "
        "out of --compare"
    )
    if provider not in onnxruntime.get_available_providers():
        raise refused
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        _elsewhere(_save_raw_onnx, subject, Path(folder) / "raw.onnx")
        session = onnxruntime.InferenceSession(Path(folder) / "raw.onnx", providers=[provider])
    if session.get_providers()[0] != provider:  # it takes the CPU where the GPU fails it
        raise refused
    name = session.get_inputs()[0].name

    def stylise(images: Picture, out: Picture) -> None:
        np.copyto(out, session.run(None, {name: images})[0])

    return stylise


def _torch_compile(subject: PeerSubject, device: str = "cpu") -> Stylise:
    """Compiled here and now: torch does it at the first call, which would otherwise count as warm-up."""
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more are processes, which would outlive this one
    import torch

    module = _cuda_module(subject) if device == "cuda" else _picture_module(subject)
    stylise = _torch(torch.compile(module, dynamic=False), device)
    images = np.zeros((subject.batch, *subject.size, 3), np.uint8)
    try:
        stylise(images, np.empty_like(images))
    except Exception as error:  # of torch, of its compiler, of the C++ compiler's process
        reason = str(error).strip().splitlines()
        raise BuildError(
            f"torch.compile cannot compile {subject.peer.checkpoint}: {reason[0] if reason else type(error).__name__}; "
            "it needs a C++ compiler (g++) and Python's headers: install them, or leave torch-compile out of --compare"
        ) from error
    return stylise


def _torch(module: Any, device: str = "cpu", half: bool = False) -> Stylise:
    """Copies to the device and back are part of a call, as in an engine's."""
    import torch

    @torch.inference_mode()
    def stylise(images: Picture, out: Picture) -> None:
        with torch.autocast(device, torch.float16, enabled=half):
            np.copyto(out, module(torch.from_numpy(images).to(device)).cpu().numpy())

    return stylise


def _bundle(write: Callable[[PeerSubject, Path], None], subject: PeerSubject) -> Stylise:
    """The engine of a bundle that `write` makes in another process, so that this one holds what it times alone. Raises
    ExportError or BuildError too."""
    from nstopt import engines

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        path = Path(folder) / "raw.nst"
        _elsewhere(write, subject, path)
        return engines.load(path)


def _elsewhere(write: Callable[[PeerSubject, Path], None], subject: PeerSubject, path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        other.submit(write, subject, path).result()


def write_raw_export(backend: str, subject: PeerSubject, path: Path) -> None:
    """Export the peer's net for its size and batch and compile it as it is, into a bundle."""
    from nstopt import engines
    from nstopt.bench.raw import build_raw
    from nstopt.bundle import ShapeInfo
    from nstopt.export.to_onnx import to_torchscript

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        model = Path(folder) / f"raw{engines.backend(backend).capabilities.takes}"
        if model.suffix == ".onnx":
            _save_raw_onnx(subject, model)
        else:
            to_torchscript(_picture_module(subject), model, subject.size)
        build_raw(model, backend, ShapeInfo(subject.batch, *subject.size), "fp32", path)


def write_raw_tensorrt(subject: PeerSubject, path: Path) -> None:
    """The raw export in FP16, which is what most people give TensorRT. Raises DeviceError without a GPU."""
    from nstopt.bench.raw import build_raw
    from nstopt.bundle import ShapeInfo

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        model = Path(folder) / "raw.onnx"
        _save_raw_onnx(subject, model, fp16=True)
        build_raw(model, "tensorrt", ShapeInfo(subject.batch, *subject.size), "fp16", path)


def _save_raw_onnx(subject: PeerSubject, path: Path, fp16: bool = False) -> None:
    import onnx

    from nstopt.export.to_onnx import name_dimensions, to_onnx

    model = name_dimensions(to_onnx(_picture_module(subject), subject.size), subject.size, subject.batch)
    if fp16:
        from nstopt.bundle import ShapeInfo
        from nstopt.calib.fp16 import to_fp16
        from nstopt.graph.specialise import specialise

        model = to_fp16(specialise(model, ShapeInfo(subject.batch, *subject.size)))
    onnx.save(model, path)


def write_nncf(subject: PeerSubject, path: Path) -> None:
    """Quantise the raw export with NNCF's performance preset on scikit-image's photographs, into an OpenVINO bundle."""
    try:
        import nncf
    except ImportError as error:
        raise BuildError("the peer nncf is not installed: pip install 'nstopt[peers]'") from error
    import openvino as ov

    from nstopt.bench.raw import build_raw
    from nstopt.bundle import ShapeInfo
    from nstopt.calib.pictures import demo

    pictures = (np.repeat(picture[None], subject.batch, axis=0) for picture in demo().load(subject.size))
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        _save_raw_onnx(subject, Path(folder) / "raw.onnx")
        model = ov.Core().read_model(Path(folder) / "raw.onnx")
        data = nncf.Dataset(list(pictures))
        quantised = nncf.quantize(model, data, preset=nncf.QuantizationPreset.PERFORMANCE)
        ov.save_model(quantised, Path(folder) / "quantised.xml", compress_to_fp16=False)
        build_raw(Path(folder) / "quantised.xml", "openvino", ShapeInfo(subject.batch, *subject.size), "int8", path)


def _picture_module(subject: PeerSubject) -> Any:
    """The net of the peer's checkpoint under the contract. A comparison with another net would be worth nothing."""
    from nstopt.export.contract import PictureModule
    from nstopt.nets import load_net

    checkpoint = subject.peer.checkpoint
    net = load_net(checkpoint, **subject.peer.net_options)
    if net.source_sha256 != subject.source_sha256:
        raise CheckpointError(
            f"{checkpoint}: the engines were not made from this checkpoint (its sha256 is {net.source_sha256[:12]}…, "
            f"theirs {subject.source_sha256[:12]}…); give the one they were exported from, or export and build again"
        )
    return PictureModule(net).eval()


PEERS = {
    "torch": Kind("torch eager", "torch", "fp32", _torch_eager),
    "torch-channels-last": Kind("torch channels-last", "torch", "fp32", _torch_channels_last),
    "torch-compile": Kind("torch.compile", "torch", "fp32", _torch_compile),
    "torchscript": Kind(
        "TorchScript", "torchscript", "fp32", partial(_bundle, partial(write_raw_export, "torchscript"))
    ),
    "onnxruntime": Kind(
        "ONNX Runtime", "onnxruntime", "fp32", partial(_bundle, partial(write_raw_export, "onnxruntime"))
    ),
    "openvino": Kind("OpenVINO", "openvino", "fp32", partial(_bundle, partial(write_raw_export, "openvino"))),
    "nncf": Kind("NNCF INT8", "openvino", "int8", partial(_bundle, write_nncf)),
    "torch-cuda": Kind("torch eager, GPU", "torch-cuda", "fp32", _torch_cuda),
    "torch-cuda-fp16": Kind("torch FP16, GPU", "torch-cuda", "fp16", partial(_torch_cuda, half=True)),
    "torch-compile-cuda": Kind("torch.compile, GPU", "torch-cuda", "fp32", partial(_torch_compile, device="cuda")),
    "onnxruntime-cuda": Kind("ONNX Runtime, GPU", "onnxruntime-cuda", "fp32", _onnxruntime_cuda),
    "tensorrt-raw": Kind("TensorRT FP16", "tensorrt", "fp16", partial(_bundle, write_raw_tensorrt)),
}
ALL = "all"
ON_GPU = ("torch-cuda", "torch-cuda-fp16", "torch-compile-cuda", "onnxruntime-cuda", "tensorrt-raw")
ELSEWHERE = ("nncf", *ON_GPU)


def named(names: Sequence[str]) -> list[str]:
    """Names of peers, where "all" stands for those that nstopt's own installation can run anywhere. Raises BuildError
    for an unknown one."""
    for name in names:
        if name != ALL:
            _check(name)
    own = [name for name in PEERS if name not in ELSEWHERE]
    return list(dict.fromkeys(one for name in names for one in (own if name == ALL else [name])))
