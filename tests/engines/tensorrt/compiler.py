"""What a compiler of NVIDIA's own makes of a graph, on a CPU: TensorRT for RTX builds ahead of time, for GPUs that are
not here. It has the API and the ONNX parser of TensorRT 10 and 11, strongly typed as they are. The plans are not run,
and their kernels are not those of TensorRT: this shows that a graph is taken as it is meant, and what moves.

    python tests/engines/tensorrt/compiler.py NET [SIDE]        # kernels, and the bytes that they read and write
"""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import onnx
import tensorrt_rtx as rtx
from made import by_default

from nstopt.bundle import InputShape
from nstopt.engines.tensorrt.lowering import prepare
from nstopt.engines.tensorrt.messages import BuildRequest
from nstopt.pictures.size import Size

ITEM_BYTES = {"Float": 4, "Half": 2, "Int8": 1, "UInt8": 1, "Int32": 4, "Int64": 8, "Bool": 1}
CONVOLUTIONS = ("correlation", "deconv")
WORKER = "nstopt.engines.tensorrt.worker"
MEGABYTE = 1e6


class Tensor(NamedTuple):
    """What a kernel reads or writes."""

    type: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.type]


class Kernel(NamedTuple):
    """A line of the compiler's list. Weights are not among `reads`."""

    name: str
    kind: str
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        return sum(tensor.bytes for tensor in (*self.reads, *self.writes))


class Log(rtx.ILogger):  # type: ignore[misc]
    """Keeps everything that the compiler says."""

    def __init__(self) -> None:
        rtx.ILogger.__init__(self)
        self.lines: list[tuple[str, str]] = []

    def log(self, severity: Any, message: str) -> None:
        self.lines.append((severity.name, message))

    def said(self, *severities: str) -> list[str]:
        return [message for severity, message in self.lines if severity in severities]

    def kernels(self) -> list[Kernel]:
        """What it made, in order."""
        listed = next(message for _, message in self.lines if message.startswith("Layers:"))
        pattern = r"Name: (.*?), LayerType: (\w+), Inputs: \[(.*)\], Constants: .*?Outputs: \[(.*)\], TacticName"
        found = re.findall(pattern, listed)
        return [Kernel(name, kind, _tensors(reads), _tensors(writes)) for name, kind, reads, writes in found]


def _tensors(text: str) -> tuple[Tensor, ...]:
    found = re.findall(r"Dimensions: \[([\d,]*)\].*?Datatype: (\w+)", text)
    return tuple(Tensor(type, tuple(int(side) for side in sides.split(",") if side)) for sides, type in found)


@contextmanager
def _worker() -> Iterator[Any]:
    """The module that builds plans, with TensorRT for RTX as its TensorRT: 11, from which it has its API."""
    with mock.patch.dict(sys.modules, {"tensorrt": rtx}), mock.patch.object(rtx, "__version__", "11.0"):
        sys.modules.pop(WORKER, None)
        yield importlib.import_module(WORKER)
        sys.modules.pop(WORKER)


def compile_for(
    model: bytes, precision: str, generation: str = "SM86", sizes: Sequence[tuple[int, int, int]] = ()
) -> Log:
    """Build a plan of `model`, which is in TensorRT's form, by our own builder's steps; returns what was said. Raises
    RuntimeError where there is no plan."""
    log = Log()
    with tempfile.TemporaryDirectory() as folder, _worker() as worker:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model)
        request = BuildRequest(str(file), folder, precision, tuple(sizes), None, str(Path(folder) / "cache"))
        builder = rtx.Builder(log)
        network, _parser = worker.parse(builder, request, log)
        config = worker.configure(builder, request)
        config.progress_monitor = None
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(rtx.ComputeCapability, generation), 0)
        if builder.build_serialized_network(network, config) is None:
            raise RuntimeError(log.said("ERROR", "INTERNAL_ERROR"))
    return log


def moved_bytes(log: Log) -> int:
    """Read and written by all kernels, each counted as if nothing stayed in a cache. Without weights."""
    return sum(kernel.bytes for kernel in log.kernels())


def as_exported(model: onnx.ModelProto) -> bytes:
    """A graph as it is, with InstanceNormalization, which the compiler knows; only the bytes are at its ends."""
    serialized: bytes = prepare(model, own_norms=True).SerializeToString()
    return serialized


def _table(net: Path, side: int) -> Iterator[str]:
    from nstopt.calib.fp16 import to_fp16
    from nstopt.calib.int8 import quantize, quantized_tensors
    from nstopt.calib.int8_fp16 import to_int8_fp16
    from nstopt.calib.ranges import symmetric
    from nstopt.export.exporter import ExportSpec, export_net
    from nstopt.graph.nodes import name_convolutions
    from nstopt.graph.passes import rewrite
    from nstopt.graph.specialize import specialize

    with tempfile.TemporaryDirectory() as folder:
        export = onnx.load(export_net(ExportSpec(net, Path(folder) / "net.onnx")).onnx)
    export = specialize(export, InputShape.of(1, Size(side, side)))
    name_convolutions(export)
    ours = rewrite(export, by_default("tensorrt")).model
    int8 = quantize(ours, {name: symmetric(1.0) for name in quantized_tensors(ours.graph)})
    in_form: Callable[[onnx.ModelProto], bytes] = lambda model: prepare(model).SerializeToString()  # noqa: E731
    for title, precision, model in (
        ("export", "fp32", as_exported(export)),
        ("export", "fp16", as_exported(to_fp16(export))),
        ("ours", "fp32", in_form(ours)),
        ("ours", "fp16", in_form(to_fp16(ours))),
        ("ours", "int8", in_form(int8)),
        ("ours", "int8-fp16", in_form(to_int8_fp16(int8))),
        ("ours, its norm", "fp32", as_exported(ours)),
        ("ours, its norm", "fp16", as_exported(to_fp16(ours))),
        ("ours, its norm", "int8", as_exported(int8)),
    ):
        log = compile_for(model, precision)
        yield f"| {title} | {precision} | {len(log.kernels())} | {moved_bytes(log) / MEGABYTE:.0f} |"


if __name__ == "__main__":
    print("| graph | precision | kernels | MB |\n|---|---|---|---|")
    for line in _table(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 512):
        print(line, flush=True)
