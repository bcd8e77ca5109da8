"""FP16 in the graph, and the norms' statistics in FP32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from conftest import SMALL, noise
from export.graphs import run
from onnx import TensorProto

from nstopt.calib.fp16 import to_fp16
from nstopt.graph.nodes import cast_to, convolutions, producers
from nstopt.pictures.files import Picture, cover

from .conftest import MakeGraph
from .halves import kinds, run_rounded

NETS = ["johnson", "fast-style", "frn"]


@pytest.mark.parametrize("name", NETS)
def test_pictures_are_equal_within_three_levels(make_graph: MakeGraph, photographs: list[Picture], name: str) -> None:
    """Where every result is rounded, which is harder than kernels of several operators have it."""
    model = make_graph(name)
    before = model.SerializeToString()
    half = to_fp16(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(half, full_check=True)
    for picture in (cover(photographs[0], SMALL), noise(*SMALL)):
        difference = run_rounded(half, [picture])[0].astype(int) - run(model, picture[None])[0]
        assert np.abs(difference).max() <= 3


@pytest.mark.parametrize("name", NETS)
def test_convolutions_are_fp16_and_statistics_fp32(make_graph: MakeGraph, name: str) -> None:
    half = to_fp16(make_graph(name))
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
            assert kind[square.input[0]] == TensorProto.FLOAT  # else it is 65504 at 256
    small = {name for node in norms if node.op_type != "InstanceNormalization" for name in node.output}
    for node in half.graph.node:
        if small & set(node.input) and node.op_type in ("Add", "Sqrt", "Reciprocal", "Abs", "Pow"):
            assert {kind[tensor] for tensor in node.output} == {TensorProto.FLOAT}
            small.update(node.output)


@pytest.mark.parametrize("name", NETS)
def test_nothing_between_statistics_is_rounded_to_fp16(make_graph: MakeGraph, name: str) -> None:
    """On its way from one FP32 node to the next."""
    half = to_fp16(make_graph(name))
    made_by = producers(half.graph)
    casts = [node for node in half.graph.node if cast_to(node) == TensorProto.FLOAT and node.input[0] in made_by]
    assert casts
    for node in casts:
        rounded = made_by[node.input[0]]
        assert cast_to(rounded) != TensorProto.FLOAT16 or kinds(half)[rounded.input[0]] != TensorProto.FLOAT


def test_activations_whose_squares_overflow(make_graph: MakeGraph) -> None:
    """Trained nets have them; their variance is then beyond FP16 although nothing else is."""
    model = make_graph("frn")
    before_norms = {node.input[1] for node in convolutions(model.graph)[:-1]}
    for tensor in model.graph.initializer:
        if tensor.name in before_norms:
            grown = onnx.numpy_helper.to_array(tensor) * np.float32(40)
            tensor.CopyFrom(onnx.numpy_helper.from_array(grown, tensor.name))
    picture = noise(*SMALL)
    difference = run_rounded(to_fp16(model), [picture])[0].astype(int) - run(model, picture[None])[0]
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("name", NETS)
def test_the_ends_stay_bytes(make_graph: MakeGraph, name: str) -> None:
    model = make_graph(name)
    half = to_fp16(model)
    assert half.graph.input == model.graph.input
    assert half.graph.output == model.graph.output
    names = [output for node in half.graph.node for output in node.output]
    assert len(set(names)) == len(names)
