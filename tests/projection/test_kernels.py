"""Kernels, work and memory of graphs for which they were computed by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.calib.ranges import QuantParams
from nstopt.projection.kernels import MOVING, MULTIPLYING, NARROWLY, NORMS, Kernel, kernels, memory_bytes

SIDE, FLOAT = 32, 4
PLANE = SIDE * SIDE
CHAIN = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 16, 32, 32] x) => (float[1, 16, 32, 32] y) {
    padded = Pad<mode = "reflect">(x, pads)
    a = Conv(padded, weight)
    b = Mul(a, two)
    c = Relu(b)
    d = InstanceNormalization(c, one, zero)
    e = Relu(d)
    y = Add(e, x)
}
"""


def chain(channels: int = 16) -> onnx.ModelProto:
    """Build pad, convolution, scaling, ReLU, norm, ReLU, sum with the input."""
    model = onnx.parser.parse_model(CHAIN.replace("16", str(channels)))
    values = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "weight": np.full((channels, channels, 3, 3), 0.5, np.float32),
        "two": np.full((1, channels, 1, 1), 2, np.float32),
        "one": np.ones(channels, np.float32),
        "zero": np.zeros(channels, np.float32),
    }
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for node in model.graph.node:
        node.name = node.output[0]
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def named(found: list[Kernel]) -> list[tuple[str, str]]:
    return [(kernel.name, kernel.kind) for kernel in found]


def test_pointwise_operators_join_the_kernel_of_their_input() -> None:
    found = kernels(chain())
    assert named(found) == [("padded", MOVING), ("a", MULTIPLYING), ("d", NORMS)]
    tensor = 16 * PLANE * FLOAT
    convolution, norm = found[1].work, found[2].work
    assert convolution.macs == 16 * 16 * 9 * PLANE
    assert convolution.bytes_read == 16 * (SIDE + 2) ** 2 * FLOAT + 16 * 16 * 9 * FLOAT + 16 * FLOAT
    assert convolution.bytes_written == tensor
    assert norm.bytes_read == 2 * tensor + 2 * 16 * FLOAT
    assert norm.bytes_written == tensor
    assert [kernel.reads for kernel in found] == [frozenset(), frozenset({0}), frozenset({1})]


def test_without_fusion_every_operator_is_a_kernel() -> None:
    assert [kernel.name for kernel in kernels(chain(), fused=False)] == ["padded", "a", "b", "c", "d", "e", "y"]


def test_an_input_with_several_readers_is_not_fused_away() -> None:
    model = chain()
    model.graph.node[6].input[1] = "c"  # the sum now reads what the norm reads
    assert named(kernels(model)) == [("padded", MOVING), ("a", MULTIPLYING), ("d", NORMS)]
    assert kernels(model)[2].reads == {1}


def test_a_convolution_of_few_channels_is_narrow() -> None:
    assert named(kernels(chain(8)))[1] == ("a", NARROWLY)


@pytest.mark.parametrize("between", ["fp32", "fp16"])
def test_a_convolution_behind_a_padding_of_integers_is_int8(between: str) -> None:
    model = chain()
    model = quantize(model, {name: QuantParams(1.0, 0) for name in quantized_tensors(model.graph)})
    model = to_int8_fp16(model) if between == "fp16" else model
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    found = kernels(model)
    (convolution,) = (kernel.work for kernel in found if kernel.kind == MULTIPLYING)
    assert convolution.type == "int8"
    padded = 16 * (SIDE + 2) ** 2
    assert padded in [kernel.work.bytes_written for kernel in found if kernel.kind == MOVING]
    assert convolution.bytes_read < 2 * padded + 16 * 16 * 9 * FLOAT


def test_memory_is_that_of_tensors_alive_at_the_same_time() -> None:
    model = chain()
    padded, tensor = 16 * (SIDE + 2) ** 2 * FLOAT, 16 * PLANE * FLOAT
    weights = 8 * 8 + (16 * 16 * 9 + 3 * 16) * FLOAT
    assert memory_bytes(model, kernels(model)) == max(padded + tensor, 2 * tensor) + weights


@pytest.mark.parametrize("fused", [True, False])
def test_no_multiplication_is_lost(fused: bool) -> None:
    assert sum(kernel.work.macs for kernel in kernels(chain(), fused)) == 16 * 16 * 9 * PLANE
