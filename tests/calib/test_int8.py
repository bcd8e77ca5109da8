"""Where Q/DQ pairs stand, and what the pictures of such graphs are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import SMALL
from export.graphs import run
from onnx import numpy_helper

from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import QuantScheme, merge_channels, mse_range
from nstopt.engines.openvino import core
from nstopt.graph.nodes import convolutions, multiplying, producers
from nstopt.pictures.files import Picture, cover

from .conftest import MakeGraph, histograms


def in_int8(model: onnx.ModelProto, pictures: list[Picture]) -> onnx.ModelProto:
    seen = histograms(model, [cover(rgb, SMALL) for rgb in pictures])
    return quantize(model, {name: mse_range(merge_channels(histogram)) for name, histogram in seen.items()})


@pytest.fixture(params=["johnson", "fast-style"])
def pair(
    request: pytest.FixtureRequest, make_graph: MakeGraph, photographs: list[Picture]
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """FP32 and INT8 of a net, calibrated on all photographs but the first."""
    model = make_graph(request.param)
    return model, in_int8(model, photographs[1:])


def test_what_convolutions_read_is_quantized_and_nothing_else(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
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


def test_a_channel_of_zeros(make_graph: MakeGraph, photographs: list[Picture]) -> None:
    model = make_graph("johnson")
    for tensor in model.graph.initializer:
        if tensor.name == convolutions(model.graph)[0].input[1]:
            weight = numpy_helper.to_array(tensor).copy()
            weight[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    picture = cover(photographs[0], SMALL)[None]
    assert psnr_db(run(in_int8(model, photographs), picture), run(model, picture)) > 25


def test_pictures_come_close_in_both_runtimes(
    pair: tuple[onnx.ModelProto, onnx.ModelProto], photographs: list[Picture], tmp_path: Path
) -> None:
    before, after = pair
    picture = cover(photographs[0], SMALL)[None]
    wanted, found = (np.asarray(run(model, picture), np.uint8) for model in pair)
    assert 30 < psnr_db(found, wanted) < 100
    onnx.save(after, tmp_path / "net.onnx")
    compiled = core().compile_model(tmp_path / "net.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    in_openvino = np.asarray(compiled(picture)[0], np.uint8)
    assert psnr_db(in_openvino, wanted) > 30
    assert psnr_db(in_openvino, found) > 35
    assert before.graph.input == after.graph.input


@pytest.mark.parametrize("name", ["johnson", "fast-style"])
def test_an_offset_is_exact_at_the_border_too(make_graph: MakeGraph, photographs: list[Picture], name: str) -> None:
    """Zero points of 0 with an offset against free ones, on nets that pad by reflection and with zeros."""
    model = make_graph(name)
    pictures = [cover(rgb, SMALL) for rgb in photographs]
    seen = histograms(model, pictures[1:])
    found = []
    for grid in (QuantScheme.ASYMMETRIC, QuantScheme.SHIFTED):
        grids = {
            tensor: grid if {node.op_type for node in readers} == {"Conv"} else QuantScheme.SYMMETRIC
            for tensor, readers in quantized_tensors(model.graph).items()
        }
        ranges = {tensor: mse_range(merge_channels(seen[tensor]), grids[tensor]) for tensor in grids}
        assert grid is QuantScheme.ASYMMETRIC or sum(one.offset != 0 for one in ranges.values()) >= 5
        for levels in (None, dict.fromkeys((node.name for node in multiplying(model.graph)), "int8x2")):
            quantized = quantize(model, ranges, levels)
            onnx.checker.check_model(quantized, full_check=True)
            found.append(np.asarray(run(quantized, pictures[0][None]), np.uint8))
    for free, fixed in zip(found[:2], found[2:], strict=True):
        assert psnr_db(free, fixed) > 55
        border = np.ones(free.shape, bool)
        border[:, 4:-4, 4:-4] = False
        assert np.abs(free.astype(int) - fixed)[border].mean() < 0.2


def test_the_model_given_is_left_as_it_is(make_graph: MakeGraph, photographs: list[Picture]) -> None:
    model = make_graph("johnson")
    before = model.SerializeToString()
    in_int8(model, photographs)
    assert model.SerializeToString() == before
