"""A graph for any size → the graph of one size, with everything folded that is known then.

image [N, H, W, 3] → Shape → Mod → Concat → Pad → …   ⇒   image [1, 333, 517, 3] → Pad(0, 3, 0, 3) → …
"""

from __future__ import annotations

import onnx
import onnxscript.optimizer

from nstopt.bundle import ShapeInfo


def specialise(model: onnx.ModelProto, shape: ShapeInfo) -> onnx.ModelProto:
    """A copy of `model` (the I/O contract's graph) whose free dimensions are set from `shape` as far as it states them,
    constants folded, and with the shape of every tensor written down."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (model.graph.input[0], model.graph.output[0]):
        dims = value.type.tensor_type.shape.dim
        for dim, number in zip(dims, (shape.batch, shape.height, shape.width), strict=False):
            if number is not None:
                dim.Clear()
                dim.dim_value = number
    del model.graph.value_info[:]  # the exporter's shapes still speak of H and W
    folded: onnx.ModelProto = onnxscript.optimizer.optimize(model)
    return onnx.shape_inference.infer_shapes(folded, strict_mode=True)
