"""FP16 graphs with the norms' statistics in FP32."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import pytest
from conftest import SMALL, noise
from export.graphs import run
from onnx import TensorProto

from nstopt.calib.fp16 import to_fp16
from nstopt.graph.nodes import cast_to, convolutions, producers
from nstopt.pictures.files import Picture

from .conftest import MakeGraph
from .halves import kinds, run_rounded

NETS = ["johnson", "fast-style", "frn"]


class Graphs(NamedTuple):
    exact: onnx.ModelProto
    half: onnx.ModelProto


@pytest.fixture(scope="module", params=NETS)
def graphs(request: pytest.FixtureRequest, make_graph: MakeGraph) -> Graphs:
    """FP32 and FP16 of a net."""
    model = make_graph(request.param)
    before = model.SerializeToString()
    half = to_fp16(model)
    assert model.SerializeToString() == before
    return Graphs(model, half)


def test_pictures_are_equal_within_three_levels(graphs: Graphs, small_pictures: list[Picture]) -> None:
    """Every result is rounded here, which is harder than in fused kernels."""
    onnx.checker.check_model(graphs.half, full_check=True)
    pictures = [small_pictures[0], noise(*SMALL)]
    for picture, rounded in zip(pictures, run_rounded(graphs.half, pictures), strict=True):
        assert np.abs(rounded.astype(int) - run(graphs.exact, picture[None])[0]).max() <= 3


def test_convolutions_are_fp16_and_statistics_fp32(graphs: Graphs) -> None:
    half = graphs.half
    kind, made_by = kinds(half), producers(half.graph)
    assert convolutions(half.graph)
    for node in convolutions(half.graph):
        assert {kind[tensor] for tensor in (*node.input, *node.output)} == {TensorProto.FLOAT16}
    norms = [n for n in half.graph.node if n.op_type in ("InstanceNormalization", "ReduceMean", "GlobalAveragePool")]
    assert len(norms) >= 7
    for node in norms:
        assert {kind[tensor] for tensor in (*node.input[:1], *node.output)} == {TensorProto.FLOAT}
        square = made_by[node.input[0]]
        if square.op_type in ("Mul", "Pow"):
            assert kind[square.input[0]] == TensorProto.FLOAT  # in FP16, the square of 256 overflows
    small = {name for node in norms if node.op_type != "InstanceNormalization" for name in node.output}
    for node in half.graph.node:
        if small & set(node.input) and node.op_type in ("Add", "Sqrt", "Reciprocal", "Abs", "Pow"):
            assert {kind[tensor] for tensor in node.output} == {TensorProto.FLOAT}
            small.update(node.output)


def test_values_between_fp32_nodes_are_not_rounded_to_fp16(graphs: Graphs) -> None:
    half = graphs.half
    kind, made_by = kinds(half), producers(half.graph)
    casts = [node for node in half.graph.node if cast_to(node) == TensorProto.FLOAT and node.input[0] in made_by]
    assert casts
    for node in casts:
        rounded = made_by[node.input[0]]
        assert cast_to(rounded) != TensorProto.FLOAT16 or kind[rounded.input[0]] != TensorProto.FLOAT


def test_activations_whose_squares_overflow(make_graph: MakeGraph) -> None:
    """Trained nets have them: the variance exceeds FP16 although nothing else does."""
    model = make_graph("frn")
    before_norms = {node.input[1] for node in convolutions(model.graph)[:-1]}
    for tensor in model.graph.initializer:
        if tensor.name in before_norms:
            grown = onnx.numpy_helper.to_array(tensor) * np.float32(40)
            tensor.CopyFrom(onnx.numpy_helper.from_array(grown, tensor.name))
    picture = noise(*SMALL)
    difference = run_rounded(to_fp16(model), [picture])[0].astype(int) - run(model, picture[None])[0]
    assert np.abs(difference).max() <= 2


def test_inputs_and_outputs_stay_uint8(graphs: Graphs) -> None:
    exact, half = graphs
    assert half.graph.input == exact.graph.input
    assert half.graph.output == exact.graph.output
    names = [output for node in half.graph.node for output in node.output]
    assert len(set(names)) == len(names)
