"""Peers that are compiled from the raw export, without our rewrites, for the one size of the case.

Another process compiles them, so that the timed one holds nothing but the library that it times.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nstopt.bench.peers.peer import PeerSubject, picture_module
from nstopt.bench.subject import Stylize
from nstopt.errors import DeviceError

if TYPE_CHECKING:
    from nstopt.pictures.files import Picture


def from_bundle(write: Callable[[PeerSubject, Path], None], subject: PeerSubject) -> Stylize:
    """Load the engine of a bundle that `write` makes in another process. Raises what `write` raises."""
    from nstopt import engines

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        path = Path(folder) / "raw.nst"
        in_other_process(write, subject, path)
        return engines.load(path)


def in_other_process(write: Callable[[PeerSubject, Path], None], subject: PeerSubject, path: Path) -> None:
    """Call `write` in a process of its own. Raises what `write` raises."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        other.submit(write, subject, path).result()


def onnxruntime_cuda(subject: PeerSubject) -> Stylize:
    """Run the raw export with ONNX Runtime on the GPU. Raises DeviceError if that is not possible here."""
    from nstopt.ort import has_provider, session

    provider = "CUDAExecutionProvider"
    refused = DeviceError(
        f"the peer {subject.peer.name} needs an NVIDIA GPU and onnxruntime-gpu in place of onnxruntime; or leave it "
        "out of --compare"
    )
    if not has_provider(provider):
        raise refused
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        in_other_process(save_raw_onnx, subject, Path(folder) / "raw.onnx")
        opened = session(Path(folder) / "raw.onnx", providers=[(provider, {"use_tf32": "0"})])
    if opened.get_providers()[0] != provider:  # it falls back to the CPU in silence
        raise refused
    name = opened.get_inputs()[0].name

    def stylize(pictures: Picture, out: Picture) -> None:
        np.copyto(out, opened.run(None, {name: pictures})[0])

    return stylize


def write_raw_export(backend: str, subject: PeerSubject, path: Path) -> None:
    """Export the peer's net for its size and batch, and compile it unchanged into a bundle."""
    from nstopt import engines
    from nstopt.engines.backend import Source
    from nstopt.pipeline.raw import build_raw

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        source = Source(Path(folder) / "raw.onnx")
        save_raw_onnx(subject, source.onnx)
        build_raw(source, engines.backend(backend), subject.shape, "fp32", path)


def write_raw_torchscript(subject: PeerSubject, path: Path) -> None:
    """Trace the peer's net to TorchScript, into a bundle."""
    from nstopt import engines
    from nstopt.engines.backend import Source
    from nstopt.export.to_onnx import to_torchscript
    from nstopt.pipeline.raw import build_raw

    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        source = Source(Path(folder) / "raw.onnx", Path(folder) / "raw.ts")
        to_torchscript(picture_module(subject), Path(folder) / "raw.ts", subject.size)
        build_raw(source, engines.backend("torchscript"), subject.shape, "fp32", path)


def write_raw_tensorrt(subject: PeerSubject, path: Path) -> None:
    """Compile the raw export in FP16, which is what most people give TensorRT. Raises DeviceError without a GPU."""
    from nstopt.engines.backend import Source
    from nstopt.engines.tensorrt import WITH_OWN_NORMS
    from nstopt.pipeline.raw import build_raw

    WITH_OWN_NORMS.require("fp16", force=True)
    with tempfile.TemporaryDirectory(prefix="nstopt-") as folder:
        source = Source(Path(folder) / "raw.onnx")
        save_raw_onnx(subject, source.onnx, fp16=True)
        build_raw(source, WITH_OWN_NORMS, subject.shape, "fp16", path)


def save_raw_onnx(subject: PeerSubject, path: Path, fp16: bool = False) -> None:
    """Export the peer's net for its size and batch, without our rewrites; with `fp16`, converted to FP16."""
    import onnx

    from nstopt.export.to_onnx import name_dimensions, to_onnx

    model = name_dimensions(to_onnx(picture_module(subject), subject.size), subject.size, subject.batch)
    if fp16:
        from nstopt.calib.fp16 import to_fp16
        from nstopt.graph.specialize import specialize

        model = to_fp16(specialize(model, subject.shape))
    onnx.save(model, path)
