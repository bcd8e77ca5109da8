"""Tests of the work of layers, against numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.ranges import QuantParams
from nstopt.graph.cost import LayerCost, Total, costs, total
from nstopt.graph.work import Work, convolution_macs


def graph(body: str, **weights: tuple[int, ...]) -> onnx.ModelProto:
    """Make a graph with float `x` [1, 4, 10, 12] and `body`, and weights of the given shapes."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4, 10, 12] x) => (float[A, B, C, D] y) {' + body + "}"
    model = onnx.parser.parse_model(text)
    for name, shape in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.full(shape, 0.5, np.float32), name))
    for node in model.graph.node:
        node.name = f"the {node.op_type}"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def only(model: onnx.ModelProto, op: str) -> LayerCost:
    (layer,) = [layer for layer in costs(model) if layer.op == op]
    return layer


def test_work_of_a_convolution() -> None:
    layer = only(graph("y = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)", w=(8, 4, 3, 3), b=(8,)), "Conv")
    assert (layer.name, layer.shape) == ("the Conv", (1, 8, 5, 6))
    assert layer.work == Work(macs=8 * 4 * 9 * 5 * 6, bytes_read=4 * (480 + 288 + 8), bytes_written=4 * 240)


@pytest.mark.parametrize(
    ("body", "weight", "macs"),
    [
        ("y = Conv <group = 4> (x, w)", (8, 1, 3, 3), 8 * 9 * 8 * 10),
        ("y = ConvTranspose <strides = [2, 2]> (x, w)", (4, 6, 3, 3), 4 * 6 * 9 * 10 * 12),
        ("y = ConvTranspose <strides = [2, 2], group = 4> (x, w)", (4, 1, 4, 4), 4 * 16 * 10 * 12),
        ("y = ConvTranspose <strides = [2, 2], group = 2> (x, w)", (4, 3, 4, 4), 4 * 3 * 16 * 10 * 12),
        ("y = MatMul (x, w)", (12, 7), 4 * 10 * 7 * 12),
    ],
)
def test_macs_of_other_operators(body: str, weight: tuple[int, ...], macs: int) -> None:
    assert total(costs(graph(body, w=weight))).macs == macs


def test_a_tensor_read_twice_counts_once() -> None:
    assert only(graph("y = Mul (x, x)"), "Mul").work == Work(0, 4 * 480, 4 * 480)


def test_reshapes_are_no_layers() -> None:
    model = graph("z = Relu (x) shape = Shape (z) flat = Flatten (z) y = Reshape (flat, shape)")
    assert total(costs(model)) == Total(layers=1, macs=0, bytes_moved=2 * 4 * 480)


def test_a_quantized_convolution_reads_bytes() -> None:
    model = graph("y = Conv (x, w)", w=(8, 4, 3, 3))
    int8 = quantize(model, {name: QuantParams(0.5, 128) for name in quantized_tensors(model.graph)})
    int8 = onnx.shape_inference.infer_shapes(int8, strict_mode=True)
    before, after = only(model, "Conv").work, only(int8, "Conv").work
    assert (before.type, after.type) == ("fp32", "int8")
    assert after.macs == before.macs
    assert (after.bytes_read, after.bytes_written) == (480 + 288, before.bytes_written)
    assert [layer.op for layer in costs(int8)] == ["QuantizeLinear", "Conv"]


def test_convolution_macs() -> None:
    assert convolution_macs((8, 4, 3, 3), (2, 4, 10, 10), (2, 8, 5, 5), transposed=False) == 8 * 4 * 9 * 2 * 25
    assert convolution_macs((4, 8, 3, 3), (2, 4, 10, 10), (2, 8, 20, 20), transposed=True) == 8 * 4 * 9 * 2 * 100
