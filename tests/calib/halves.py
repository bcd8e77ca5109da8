"""FP16 as a GPU computes it, on a CPU: every FP16 result is rounded. ONNX Runtime computes in FP32 and drops most
casts.

python tests/calib/halves.py NET CALIB VAL [SIDE]    # PSNR in dB of the graphs for TensorRT against FP32
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from made import by_default
from onnx import TensorProto, helper, numpy_helper

from nstopt.graph.nodes import cast_to, clone
from nstopt.pictures.files import Picture


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of each tensor."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in inferred.graph.initializer}


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an FP32 copy in which every tensor that is FP16 in `model` is rounded to FP16."""
    kind = kinds(model)
    copy = clone(model)
    del copy.graph.value_info[:]
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes: list[onnx.NodeProto] = []
    for node in copy.graph.node:
        halves = [name for name in node.output if kind[name] == TensorProto.FLOAT16]
        if cast_to(node) == TensorProto.FLOAT16:
            node.CopyFrom(_cast(node.input[0], node.output[0], TensorProto.FLOAT))
        node.output[:] = [f"{name}_exact" if name in halves else name for name in node.output]
        nodes.append(node)
        for name in halves:
            nodes.append(_cast(f"{name}_exact", f"{name}_half", TensorProto.FLOAT16))
            nodes.append(_cast(f"{name}_half", name, TensorProto.FLOAT))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def run_rounded(model: onnx.ModelProto, pictures: Sequence[Picture]) -> list[Picture]:
    """Run `model` on pictures [H, W, 3] with all FP16 results rounded."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it would drop the casts
    session = ort.InferenceSession(rounded(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [session.run(None, {session.get_inputs()[0].name: picture[None]})[0][0] for picture in pictures]


def _table(net: Path, calib: Path, val: Path, side: int) -> Iterator[str]:
    """Yield table rows, with the recipe that a build's search finds and in the form that a build gives TensorRT."""
    from nstopt.calib.calibrate import Calibration, calibrate
    from nstopt.calib.fp16 import to_fp16
    from nstopt.calib.int8_fp16 import to_int8_fp16
    from nstopt.calib.picture_sets import MAX_CALIBRATION, MAX_VALIDATION, at_most, from_path
    from nstopt.calib.quality import psnr_db
    from nstopt.calib.ranges import SYMMETRIC
    from nstopt.engines import backend
    from nstopt.engines.tensorrt.lowering import prepare
    from nstopt.export.exporter import ExportSpec, export_net
    from nstopt.graph.nodes import name_convolutions
    from nstopt.graph.passes import rewrite
    from nstopt.graph.specialize import specialize
    from nstopt.manifest import InputShape
    from nstopt.pictures.size import Size
    from nstopt.pipeline.spec import BuildSpec
    from nstopt.progress import Silent

    size = Size(side, side)
    with tempfile.TemporaryDirectory() as folder:
        export = onnx.load(export_net(ExportSpec(net, Path(folder) / "net.onnx")).onnx)
    graph = specialize(export, InputShape.of(1, size))
    name_convolutions(graph)
    ours = rewrite(graph, by_default("tensorrt")).model

    def render(model: onnx.ModelProto, pictures: Sequence[Picture]) -> tuple[list[Picture], float]:
        run = backend("onnxruntime").compile(model.SerializeToString(), "fp32")
        return [run({model.graph.input[0].name: picture[None]})[0][0] for picture in pictures], 1.0

    pictures = at_most(from_path(calib), MAX_CALIBRATION)
    calibration = Calibration(pictures, size, 1, SYMMETRIC, render, "", BuildSpec(net, Path()).search_target())
    int8 = calibrate(ours, calibration, Silent()).model
    validation = list(at_most(from_path(val), MAX_VALIDATION).load(size))
    exact = render(graph, validation)[0]
    for title, model in (("fp16", to_fp16(ours)), ("int8", int8), ("int8-fp16", to_int8_fp16(int8))):
        found = [psnr_db(a, b) for a, b in zip(run_rounded(prepare(model), validation), exact, strict=True)]
        yield f"| {title} | {np.mean(found):.1f} / {min(found):.1f} |"


if __name__ == "__main__":
    print("| precision | mean / worst dB |\n|---|---|")
    net, calib, val = map(Path, sys.argv[1:4])
    for line in _table(net, calib, val, int(sys.argv[4]) if len(sys.argv) > 4 else 256):
        print(line, flush=True)
