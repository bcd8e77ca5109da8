"""Fix the free dimensions of a graph and fold everything that is constant then.

image [N, H, W, 3] → Shape → Div → Concat → Pad → …   ⇒   image [1, 333, 517, 3] → Pad(0, 3, 0, 3) → …
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import onnxscript.optimizer
from onnxscript import ir

from nstopt.errors import BuildError, translated
from nstopt.graph.fold import fold
from nstopt.graph.nodes import clone
from nstopt.manifest import InputShape


def specialize(model: onnx.ModelProto, shape: InputShape) -> onnx.ModelProto:
    """Return a copy of `model` (which fulfills the I/O contract) whose batch is that of `shape` and whose height and
    width are those of its only size; what `shape` leaves free stays free. Constants are folded, and the shape of every
    tensor is written down. Raises BuildError if the graph is not valid for that shape."""
    model = clone(model)
    for value in (model.graph.input[0], model.graph.output[0]):
        dims = value.type.tensor_type.shape.dim
        for dim, number in zip(dims, (shape.batch, *(shape.sizes.only or ())), strict=False):
            if number is not None:
                dim.Clear()
                dim.dim_value = number
    for value in model.graph.input[1:] if shape.batch else ():  # open statistics
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = shape.batch
    with translated(BuildError, f"the graph does not take pictures of {shape}"):
        return _folded(model)


def part_of(model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]], outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the part of `model` that computes the tensors `outputs` from `inputs`, specialized for these shapes of the
    inputs. Inputs that it does not read then are left out."""
    whole = ir.from_proto(model)
    part = ir.convenience.extract(whole.graph, list(inputs), outputs)
    for value in part.inputs:
        value.shape = ir.Shape(inputs[str(value.name)])
    for value in (value for node in part for value in node.outputs):
        value.shape = None  # of the whole
    graph = ir.Model(part, ir_version=whole.ir_version)
    fold(graph, _should_fold)
    folded = onnx.shape_inference.infer_shapes(ir.to_proto(graph), strict_mode=True)
    read = {name for node in folded.graph.node for name in node.input}
    kept = [value for value in folded.graph.input if value.name in read]
    del folded.graph.input[:]
    folded.graph.input.extend(kept)
    return folded


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold everything that is constant, and write down the shape of every tensor."""
    del model.graph.value_info[:]  # the exporter's shapes still speak of H and W
    graph = ir.from_proto(model)
    onnxscript.optimizer.optimize_ir(graph, should_fold=_should_fold)
    return onnx.shape_inference.infer_shapes(ir.to_proto(graph), strict_mode=True)


def _should_fold(node: ir.Node) -> bool | None:
    """Fold vectors of one number too, which onnxscript leaves alone by default: torch's older exporter makes the
    amounts of a padding from them. None stands for the default."""
    shape = node.outputs[0].shape
    return True if node.op_type == "ConstantOfShape" and shape is not None and len(shape) == 1 else None
