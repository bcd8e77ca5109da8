"""Handwritten float ONNX nets, as users have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Dims = Sequence[int | str | None]
ANY: Dims = ["N", 3, "H", "W"]


def model_of(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, Array],
    opset: int = 17,
    dims: Dims = ANY,
    out_dims: Dims | None = None,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Make a graph from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, dims)],
        [helper.make_tensor_value_info("y", kind, out_dims or dims)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def mixer(opset: int = 17, dims: Dims = ANY, scale: float = 1.0) -> onnx.ModelProto:
    """Make a 1x1 convolution: y = scale * (blue, red, green of x)."""
    weight = np.zeros((3, 3, 1, 1), np.float32)
    for out, source in enumerate((2, 0, 1)):
        weight[out, source] = scale
    return model_of([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": weight}, opset, dims)


def run(model: onnx.ModelProto, x: Array) -> Array:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: Array = session.run(None, {session.get_inputs()[0].name: x})[0]
    return result


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
