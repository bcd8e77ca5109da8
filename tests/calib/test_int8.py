"""The places of Q/DQ pairs, and the pictures of quantized graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from export.graphs import run
from onnx import numpy_helper, parser

from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import QuantScheme, merge_channels, mse_range, symmetric
from nstopt.engines.openvino import core
from nstopt.graph.nodes import convolutions, multiplying, producers
from nstopt.pictures.files import Picture

from .conftest import MakeGraph, histograms


def in_int8(model: onnx.ModelProto, pictures: list[Picture]) -> onnx.ModelProto:
    known = histograms(model, pictures)
    return quantize(model, {name: mse_range(merge_channels(histogram)) for name, histogram in known.items()})


@pytest.fixture(scope="module", params=["johnson", "fast-style"])
def pair(
    request: pytest.FixtureRequest, make_graph: MakeGraph, small_pictures: list[Picture]
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """FP32 and INT8 of a net, calibrated on all photographs but the first."""
    model = make_graph(request.param)
    before = model.SerializeToString()
    quantized = in_int8(model, small_pictures[1:])
    assert model.SerializeToString() == before
    return model, quantized


def test_only_inputs_of_convolutions_are_quantized(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    _, model = pair
    graph = model.graph
    onnx.checker.check_model(model, full_check=True)
    made_by = producers(graph)
    pairs = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    weights = [node for node in pairs if node.input[0] not in made_by]
    assert len(weights) == len(convolutions(graph)) > 6
    for node in convolutions(graph):
        before = made_by[node.input[0]]
        while before.op_type == "Pad":  # the pair stands before the padding
            before = made_by[before.input[0]]
        assert before.op_type == "DequantizeLinear"
        assert made_by[before.input[0]].op_type == "QuantizeLinear"
        assert made_by[made_by[before.input[0]].input[0]].op_type not in ("Pad", "DequantizeLinear")
        assert made_by[node.input[1]] in weights
    readers = {name: node for node in graph.node for name in node.input}
    for node in pairs:
        after = readers[node.output[0]]
        while after.op_type == "Pad":
            after = readers[after.output[0]]
        assert after.op_type in ("Conv", "ConvTranspose")
    float_weights = [tensor for tensor in graph.initializer if tensor.data_type == 1 and len(tensor.dims) == 4]
    assert not float_weights


def test_weights_have_a_scale_for_each_output_channel(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    before, after = pair
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    original = {tensor.name: numpy_helper.to_array(tensor) for tensor in before.graph.initializer}
    made_by = producers(after.graph)
    for old, node in zip(convolutions(before.graph), convolutions(after.graph), strict=True):
        weight = original[old.input[1]]
        restore = made_by[node.input[1]]
        integers, scale, zero = (tensors[name] for name in restore.input)
        axis = 1 if node.op_type == "ConvTranspose" else 0
        assert onnx.helper.get_node_attr_value(restore, "axis") == axis
        assert scale.shape == zero.shape == (weight.shape[axis],)
        assert integers.dtype == np.int8
        assert not zero.any()
        shape = [-1 if i == axis else 1 for i in range(4)]
        np.testing.assert_allclose(integers * scale.reshape(shape), weight, atol=float(scale.max()) / 2 * 1.01)
        assert np.abs(integers).max() == 127


def test_a_channel_of_zeros(make_graph: MakeGraph, small_pictures: list[Picture]) -> None:
    model = make_graph("johnson")
    for tensor in model.graph.initializer:
        if tensor.name == convolutions(model.graph)[0].input[1]:
            weight = numpy_helper.to_array(tensor).copy()
            weight[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    picture = small_pictures[0][None]
    assert psnr_db(run(in_int8(model, small_pictures), picture), run(model, picture)) > 25


def test_pictures_come_close_in_both_runtimes(
    pair: tuple[onnx.ModelProto, onnx.ModelProto], small_pictures: list[Picture], tmp_path: Path
) -> None:
    before, after = pair
    picture = small_pictures[0][None]
    wanted, found = (np.asarray(run(model, picture), np.uint8) for model in pair)
    assert 30 < psnr_db(found, wanted) < 100
    onnx.save(after, tmp_path / "net.onnx")
    compiled = core().compile_model(tmp_path / "net.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    in_openvino = np.asarray(compiled(picture)[0], np.uint8)
    assert psnr_db(in_openvino, wanted) > 30
    assert psnr_db(in_openvino, found) > 35
    assert before.graph.input == after.graph.input


@pytest.mark.parametrize("name", ["johnson", "fast-style"])
def test_an_offset_is_exact_at_the_border_too(make_graph: MakeGraph, small_pictures: list[Picture], name: str) -> None:
    """Compares zero points of 0 with an offset and free ones, on nets that pad by reflection and with zeros."""
    model = make_graph(name)
    known = histograms(model, small_pictures[1:])
    found = []
    for scheme in (QuantScheme.ASYMMETRIC, QuantScheme.SHIFTED):
        schemes = {
            tensor: scheme if {node.op_type for node in readers} == {"Conv"} else QuantScheme.SYMMETRIC
            for tensor, readers in quantized_tensors(model.graph).items()
        }
        ranges = {tensor: mse_range(merge_channels(known[tensor]), schemes[tensor]) for tensor in schemes}
        assert scheme is QuantScheme.ASYMMETRIC or sum(one.offset != 0 for one in ranges.values()) >= 5
        for levels in (None, dict.fromkeys((node.name for node in multiplying(model.graph)), "int8x2")):
            quantized = quantize(model, ranges, levels)
            onnx.checker.check_model(quantized, full_check=True)
            found.append(np.asarray(run(quantized, small_pictures[0][None]), np.uint8))
    for free, fixed in zip(found[:2], found[2:], strict=True):
        assert psnr_db(free, fixed) > 55
        border = np.ones(free.shape, bool)
        border[:, 4:-4, 4:-4] = False
        assert np.abs(free.astype(int) - fixed)[border].mean() < 0.2


CHAINED = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 2, 8, 8] x) => (float[1, 2, 8, 8] y) <float[2, 2, 1, 1] w, float[1, 2, 8, 8] h> {
    h = Conv(x, w)
    y = Conv(h, w)
}
"""


def test_a_convolution_can_read_another_in_int8x2() -> None:
    """Both have a residual: one of its output, one of its input."""
    model = parser.parse_model(CHAINED)
    weight = np.random.default_rng(0).normal(size=(2, 2, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    for node, name in zip(convolutions(model.graph), ("first", "second"), strict=True):
        node.name = name
    quantized = quantize(model, dict.fromkeys(("x", "h"), symmetric(8)), dict.fromkeys(("first", "second"), "int8x2"))
    values = np.random.default_rng(1).normal(size=(1, 2, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(quantized, values), run(model, values), atol=0.1)
