"""Small graphs that hold one layer of a given kind and shape, between its usual neighbors in a style net. For tuning.

All graphs are float32, opset 17, of batch 1, with random weights. The layer that the graph is for is named `layer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]
Constants = Mapping[str, Any]
BYTES: Constants = {"low": np.float32(0), "high": np.float32(255)}
LIFT_CHANNELS = 8
DOUBLING_CONSTANTS: Constants = {
    "scales": np.array([1, 1, 2, 2], np.float32),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
}


def upsample_conv(shape: Shape) -> onnx.ModelProto:
    """Make a doubling, reflection by 1, convolution and norm. `shape`: outputs, inputs, 3, 3, height and width of x."""
    return upsample_grouped((1, *shape))


def upsample_grouped(shape: Shape) -> onnx.ModelProto:
    """Make the same with a grouped convolution. `shape`: groups, outputs and inputs of each, 3, 3, height and width of
    x."""
    group, outputs, inputs, rows, columns, height, width = shape
    constants = {**DOUBLING_CONSTANTS, "w": _weights(group * outputs, inputs, rows, columns)}
    nodes = [*_doubling(), helper.make_node("Conv", ["padded", "w"], ["c"], name="layer", group=group)]
    return _normed(nodes, constants, (1, group * inputs, height, width), group * outputs)


def separable_doubling(shape: Shape) -> onnx.ModelProto:
    """Make a doubling, reflection by 1, depthwise and 1x1 convolution and norm. `shape`: outputs, inputs, 3, 3,
    height and width of x."""
    outputs, inputs, rows, columns, height, width = shape
    weights = {"w": _weights(inputs, 1, rows, columns), "pointwise": _weights(outputs, inputs, 1, 1)}
    nodes = [
        *_doubling(),
        helper.make_node("Conv", ["padded", "w"], ["d"], name="depthwise", group=inputs),
        helper.make_node("Conv", ["d", "pointwise"], ["c"], name="layer"),
    ]
    return _normed(nodes, {**DOUBLING_CONSTANTS, **weights}, (1, inputs, height, width), outputs)


def _doubling() -> list[onnx.NodeProto]:
    """Make the doubling of `x` and its reflection by 1, `padded`, which read DOUBLING_CONSTANTS."""
    resize = helper.make_node(
        "Resize",
        ["x", "", "scales"],
        ["up"],
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    return [resize, helper.make_node("Pad", ["up", "pads"], ["padded"], mode="reflect")]


def strided_reflection(shape: Shape) -> onnx.ModelProto:
    """Make a reflection by 1, a grouped convolution of stride 2 and a norm. `shape`: groups, outputs and inputs of
    each, 3, 3, height and width of x."""
    group, outputs, inputs, rows, columns, height, width = shape
    constants = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "w": _weights(group * outputs, inputs, rows, columns),
    }
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Conv", ["padded", "w"], ["c"], name="layer", group=group, strides=[2, 2]),
    ]
    return _normed(nodes, constants, (1, group * inputs, height, width), group * outputs)


def transposed_conv(shape: Shape) -> onnx.ModelProto:
    """Make a transposed convolution to twice the size and a norm. `shape`: inputs, outputs, kernel, height and width of
    x."""
    inputs, outputs, rows, columns, height, width = shape
    pads = [(rows - 2) // 2, (columns - 2) // 2, (rows - 1) // 2, (columns - 1) // 2]
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["c"], name="layer", strides=[2, 2], pads=pads)]
    return _normed(nodes, {"w": _weights(inputs, outputs, rows, columns)}, (1, inputs, height, width), outputs)


def wide_conv(shape: Shape) -> onnx.ModelProto:
    """Make a convolution and a norm. `shape`: outputs, inputs, kernel, height and width of the result."""
    outputs, inputs, rows, columns, height, width = shape
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="layer", pads=[rows // 2, columns // 2] * 2)]
    return _normed(nodes, {"w": _weights(outputs, inputs, rows, columns)}, (1, inputs, height, width), outputs)


def subpixel_conv(shape: Shape) -> onnx.ModelProto:
    """Make a convolution to four phases, their interleaving and a norm. `shape`: outputs, inputs, kernel, height and
    width of x."""
    outputs, inputs, rows, columns, height, width = shape
    pads = [(rows - 1) // 2, (columns - 1) // 2, rows // 2, columns // 2]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["phases"], name="layer", pads=pads),
        helper.make_node("DepthToSpace", ["phases"], ["c"], blocksize=2, mode="CRD"),
    ]
    return _normed(nodes, {"w": _weights(outputs, inputs, rows, columns)}, (1, inputs, height, width), outputs // 4)


def few_outputs(shape: Shape) -> onnx.ModelProto:
    """Make a convolution to few channels and a cast to uint8. `shape`: outputs, inputs, kernel, height and width of the
    result."""
    outputs, inputs, rows, columns, height, width = shape
    constants = {"w": _weights(outputs, inputs, rows, columns), **BYTES}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="layer", pads=[rows // 2, columns // 2] * 2),
        helper.make_node("Clip", ["c", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["y"], to=TensorProto.UINT8),
    ]
    return _model(nodes, constants, (1, inputs, height, width), TensorProto.UINT8)


def few_inputs(shape: Shape) -> onnx.ModelProto:
    """Make a convolution of few channels and a norm. `shape`: outputs, inputs, kernel, height and width of x."""
    outputs, inputs, rows, columns, height, width = shape
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="layer")]
    return _normed(nodes, {"w": _weights(outputs, inputs, rows, columns)}, (1, inputs, height, width), outputs)


def few_channel_norm(shape: Shape) -> onnx.ModelProto:
    """Make a norm of few channels and a cast to uint8. `shape`: channels, height, width."""
    channels, height, width = shape
    constants = {"scale": np.ones(channels, np.float32), "shift": np.zeros(channels, np.float32), **BYTES}
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "scale", "shift"], ["n"], name="layer"),
        helper.make_node("Clip", ["n", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["y"], to=TensorProto.UINT8),
    ]
    return _model(nodes, constants, (1, channels, height, width), TensorProto.UINT8)


def _weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _normed(nodes: list[onnx.NodeProto], constants: Constants, x: Shape, outputs: int) -> onnx.ModelProto:
    """Add a norm and a ReLU after the tensor `c`, and output only the maximum of each channel. To output the whole
    tensor would take longer than the layer."""
    norm = {"scale": np.ones(outputs, np.float32), "shift": np.zeros(outputs, np.float32)}
    tail = [
        helper.make_node("InstanceNormalization", ["c", "scale", "shift"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("ReduceMax", ["r"], ["y"], axes=[2, 3]),
    ]
    return _model([*nodes, *tail], {**constants, **norm}, x, TensorProto.FLOAT)


def _model(nodes: Sequence[onnx.NodeProto], constants: Constants, x: Shape, data_type: int) -> onnx.ModelProto:
    """Make a model of `nodes`, which read tensor `x` (its shape: NCHW) and compute `y` of the data type. A convolution
    computes `x`, so that it has the memory layout that it has within a net."""
    initializers = {"lift.weight": _weights(x[1], LIFT_CHANNELS, 1, 1), **constants}
    head = helper.make_node("Conv", ["input", "lift.weight"], ["x"], name="lift")
    graph = helper.make_graph(
        [head, *nodes],
        "layer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (x[0], LIFT_CHANNELS, *x[2:]))],
        [helper.make_tensor_value_info("y", data_type, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)
