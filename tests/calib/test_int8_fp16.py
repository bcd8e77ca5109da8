"""INT8 convolutions with FP16 between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from nstopt.calib.int8 import quantize, quantized_tensors
from nstopt.calib.int8_fp16 import to_int8_fp16
from nstopt.calib.quality import psnr_db
from nstopt.calib.ranges import SYMMETRIC, merge_channels, mse_range
from nstopt.graph.nodes import cast_to, convolutions, initializers, producers
from nstopt.pictures.files import Picture

from .conftest import MakeGraph, histograms
from .halves import kinds, run_rounded
from .test_fp16 import NETS


class Graphs(NamedTuple):
    exact: onnx.ModelProto
    int8: onnx.ModelProto
    mixed: onnx.ModelProto


@pytest.fixture(scope="module", params=NETS)
def graphs(request: pytest.FixtureRequest, make_graph: MakeGraph, small_pictures: list[Picture]) -> Graphs:
    model = make_graph(request.param)
    quantized = _int8(model, small_pictures)
    before = quantized.SerializeToString()
    mixed = to_int8_fp16(quantized)
    assert quantized.SerializeToString() == before
    return Graphs(model, quantized, mixed)


def _int8(model: onnx.ModelProto, pictures: Sequence[Picture]) -> onnx.ModelProto:
    """Return INT8 as TensorRT requires it, with the middle layer in int8x2."""
    known = histograms(model, pictures)
    ranges = {
        name: mse_range(merge_channels(known[name]), SYMMETRIC.scheme(readers))
        for name, readers in quantized_tensors(model.graph).items()
    }
    return quantize(model, ranges, {convolutions(model.graph)[4].name: "int8x2"})


def test_pictures_are_as_good_as_those_of_int8(graphs: Graphs, small_pictures: list[Picture]) -> None:
    onnx.checker.check_model(graphs.mixed, full_check=True)
    for exact, int8, mixed in zip(*(run_rounded(graph, small_pictures[:2]) for graph in graphs), strict=True):
        assert psnr_db(mixed, exact) > psnr_db(int8, exact) - 0.3


def test_types(graphs: Graphs) -> None:
    """Activation scales stay FP32 and unchanged; convolutions have one weight scale and FP16 outputs."""
    _, quantized, mixed = graphs
    kind, made_by, constants = kinds(mixed), producers(mixed.graph), initializers(mixed.graph)
    for node in convolutions(mixed.graph):
        assert kind[node.output[0]] == TensorProto.FLOAT16
        weight = made_by[node.input[1]]
        assert cast_to(weight) == TensorProto.FLOAT16
        assert constants[made_by[weight.input[0]].input[1]].size == 1
    scales = [constants[node.input[1]] for node in mixed.graph.node if node.op_type == "QuantizeLinear"]
    before = initializers(quantized.graph)
    wanted = [before[node.input[1]] for node in quantized.graph.node if node.op_type == "QuantizeLinear"]
    assert {scale.dtype for scale in scales} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.sort(np.ravel(scales)), np.sort(np.ravel(wanted)))
    reduced = [node for node in mixed.graph.node if node.op_type.startswith("Reduce")]
    assert {kind[node.input[0]] for node in reduced} <= {TensorProto.FLOAT}
