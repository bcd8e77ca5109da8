"""Small nets that measure the best rates of a backend on this device.

They fulfill the I/O contract, so that any backend builds, loads and profiles them like a real net.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from nstopt.calib.placeholder import quantize_with_placeholders
from nstopt.calib.ranges import Int8Inputs

# The channels fill any vector unit. The layer is large enough to make its launch negligible, and small enough that on a
# shared machine some runs are not interrupted.
MULTIPLY_CHANNELS, MULTIPLY_SIDE = 128, 64
MOVE_SIDE = 256
MULTIPLY, MOVE = "multiply", "move"

MULTIPLY_NET = """
<ir_version: 8, opset_import: ["" : 17]>
probe (uint8[1, SIDE, SIDE, 3] image) => (uint8[1, SIDE, SIDE, 3] stylized) {
    nchw = Transpose<perm = [0, 3, 1, 2]>(image)
    x = Cast<to = 1>(nchw)
    a = Conv(x, enter)
    multiply1 = Conv<pads = [1, 1, 1, 1]>(a, weight1)
    multiply2 = Conv<pads = [1, 1, 1, 1]>(multiply1, weight2)
    multiply3 = Conv<pads = [1, 1, 1, 1]>(multiply2, weight3)
    y = Conv(multiply3, leave)
    nhwc = Transpose<perm = [0, 2, 3, 1]>(y)
    stylized = Cast<to = 2>(nhwc)
}
"""
# The norms keep backends from fusing the addition into the convolutions.
MOVE_NET = """
<ir_version: 8, opset_import: ["" : 17]>
probe (uint8[1, SIDE, SIDE, 3] image) => (uint8[1, SIDE, SIDE, 3] stylized) {
    nchw = Transpose<perm = [0, 3, 1, 2]>(image)
    x = Cast<to = 1>(nchw)
    a = Conv(x, enter)
    b = Conv(x, enter2)
    c = InstanceNormalization(a, one, zero)
    d = InstanceNormalization(b, one, zero)
    move = Add(c, d)
    y = Conv(move, leave)
    nhwc = Transpose<perm = [0, 2, 3, 1]>(y)
    stylized = Cast<to = 2>(nhwc)
}
"""


def multiply_net(int8: Int8Inputs | None) -> onnx.ModelProto:
    """Build three equal 3x3 convolutions, `multiply1` to `multiply3`, in FP32 or with `int8` inputs and weights."""
    count = MULTIPLY_CHANNELS
    shapes = {"enter": (count, 3, 1, 1), "leave": (3, count, 1, 1)}
    shapes |= {f"weight{place}": (count, count, 3, 3) for place in (1, 2, 3)}
    model = _net(MULTIPLY_NET, MULTIPLY_SIDE, shapes)
    return model if int8 is None else quantize_with_placeholders(model, int8)


def move_net(channels: int) -> onnx.ModelProto:
    """Build an addition, `move`, of two tensors of that many channels."""
    shapes = {"enter": (channels, 3, 1, 1), "enter2": (channels, 3, 1, 1), "leave": (3, channels, 1, 1)}
    return _net(MOVE_NET, MOVE_SIDE, shapes | {"one": (channels,), "zero": (channels,)})


def _net(text: str, side: int, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Parse a net and give it random weights, since libraries may have a shortcut for constant ones."""
    model = onnx.parser.parse_model(text.replace("SIDE", str(side)))
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        weight = random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    for node in model.graph.node:
        node.name = node.output[0]
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)
