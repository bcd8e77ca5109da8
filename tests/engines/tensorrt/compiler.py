"""Compiles graphs with TensorRT for RTX, which builds ahead of time on a CPU for GPUs that are not present. It has the
API and the ONNX parser of TensorRT 10 and 11 and strongly typed networks. The plans are not run, and the kernels are
not TensorRT's: this shows that a graph is taken as intended, and how many bytes its kernels move.

    python tests/engines/tensorrt/compiler.py NET [SIDE]        # number of kernels, and the bytes they read and write
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

from nstopt.engines.tensorrt.forms import Forms
from nstopt.engines.tensorrt.lowering import prepare
from nstopt.engines.tensorrt.messages import BuildRequest, GraphInfo
from nstopt.manifest import InputShape
from nstopt.pictures.size import Size

ITEM_BYTES = {"Float": 4, "Half": 2, "Int8": 1, "UInt8": 1, "Int32": 4, "Int64": 8, "Bool": 1}
CONVOLUTIONS = ("correlation", "deconv")
WORKER = "nstopt.engines.tensorrt.worker"
MEGABYTE = 1e6


class Tensor(NamedTuple):
    """Type and shape of a tensor that a kernel reads or writes."""

    type: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * ITEM_BYTES[self.type]


class Kernel(NamedTuple):
    """An entry of the compiler's layer list. `reads` has no weights."""

    name: str
    kind: str
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        return sum(tensor.bytes for tensor in (*self.reads, *self.writes))


class Log(rtx.ILogger):  # type: ignore[misc]
    """Keeps all messages of the compiler."""

    def __init__(self) -> None:
        rtx.ILogger.__init__(self)
        self.lines: list[tuple[str, str]] = []

    def log(self, severity: Any, message: str) -> None:
        self.lines.append((severity.name, message))

    def messages(self, *severities: str) -> list[str]:
        return [message for severity, message in self.lines if severity in severities]

    def kernels(self) -> list[Kernel]:
        """Return the kernels of the plan in execution order."""
        listed = next(message for _, message in self.lines if message.startswith("Layers:"))
        pattern = r"Name: (.*?), LayerType: (\w+), Inputs: \[(.*)\], Constants: .*?Outputs: \[(.*)\], TacticName"
        found = re.findall(pattern, listed)
        return [Kernel(name, kind, _tensors(reads), _tensors(writes)) for name, kind, reads, writes in found]


def _tensors(text: str) -> tuple[Tensor, ...]:
    found = re.findall(r"Dimensions: \[([\d,]*)\].*?Datatype: (\w+)", text)
    return tuple(Tensor(type, tuple(int(side) for side in sides.split(",") if side)) for sides, type in found)


@contextmanager
def _worker() -> Iterator[Any]:
    """Import the worker module with TensorRT for RTX in place of TensorRT 11, whose API it has."""
    with mock.patch.dict(sys.modules, {"tensorrt": rtx}), mock.patch.object(rtx, "__version__", "11.0"):
        sys.modules.pop(WORKER, None)
        yield importlib.import_module(WORKER)
        sys.modules.pop(WORKER)


def compile_for(
    model: bytes, precision: str, generation: str = "SM86", sizes: Sequence[tuple[int, int, int]] = ()
) -> Log:
    """Build a plan of `model`, which is in TensorRT's form, with the worker's own steps, and return the log. Raises
    RuntimeError if no plan is built."""
    log = Log()
    with tempfile.TemporaryDirectory() as folder, _worker() as worker:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model)
        request = BuildRequest(
            str(file), folder, precision, GraphInfo(), tuple(sizes), None, str(Path(folder) / "cache")
        )
        builder = rtx.Builder(log)
        network, _parser = worker.parse(builder, request, log)
        config = worker.configure(builder, request)
        config.progress_monitor = None
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(rtx.ComputeCapability, generation), 0)
        if builder.build_serialized_network(network, config) is None:
            raise RuntimeError(log.messages("ERROR", "INTERNAL_ERROR"))
    return log


def moved_bytes(log: Log) -> int:
    """Bytes that all kernels read and write, without weights, as if no cache held any of them."""
    return sum(kernel.bytes for kernel in log.kernels())


def as_exported(model: onnx.ModelProto) -> bytes:
    """Lower a graph with InstanceNormalization kept: the compiler has that operator."""
    serialized: bytes = prepare(model, Forms(own_norms=True)).SerializeToString()
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
