"""The search: candidates are judged by the picture, and layers are raised only as long as that is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import SMALL
from made import by_default
from onnx import numpy_helper

from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.search import EXPONENTS, QualityTarget, Search
from nstopt.calib.statistics import collect
from nstopt.graph.nodes import multiplying
from nstopt.graph.passes import rewrite
from nstopt.pictures.files import Picture, cover
from nstopt.progress import Silent

from .conftest import MakeGraph, render


@pytest.fixture
def search(make_graph: MakeGraph, photographs: list[Picture]) -> Search:
    model = rewrite(make_graph("fast-style"), by_default("openvino")).model
    pictures = [cover(rgb, SMALL) for rgb in photographs[:3]]
    return Search(model, collect(model, pictures), Int8Inputs(("Conv",)), render, pictures)


def test_an_aim_that_is_met_ends_the_search(search: Search) -> None:
    best = search.run(QualityTarget(10, 10), Silent())
    assert len(search.tried) == len(EXPONENTS) + 2  # and plain rounding, and ranges from end to end
    assert best.recipe.levels == {}
    assert best.mean_db == max(candidate.mean_db for candidate in search.tried)


def test_layers_are_raised_until_the_aim_is_met(search: Search) -> None:
    plain = search.run(QualityTarget(0, 0), Silent())
    aim = QualityTarget(plain.mean_db + 1, plain.worst_db + 1)
    best = search.run(aim, Silent())
    assert aim.is_met(best)
    assert best.recipe.levels
    assert set(best.recipe.levels.values()) <= {"int8x2", "fp32"}
    again = search.run(aim, Silent())
    assert again.recipe == best.recipe  # the same set gives the same recipe


def test_what_cannot_be_met_gives_the_closest(search: Search) -> None:
    best = search.run(QualityTarget(200, 200), Silent())
    assert best.score == max(candidate.score for candidate in search.tried)


def test_two_bytes_are_closer_than_one(search: Search) -> None:
    """All layers in two INT8 convolutions leave the rounding of the weights; all in FP32 leave nothing."""
    model = search.build(search.start(None))
    names = [
        name.removesuffix("_weight_dq") for node in model.graph.node for name in node.output if "_weight_dq" in name
    ]
    scores = {
        level: search.judge(replace(search.start(None), levels=dict.fromkeys(names, level))).mean_db
        for level in ("int8", "int8x2", "fp32")
    }
    assert scores["int8"] + 3 < scores["int8x2"] < scores["fp32"]
    assert scores["fp32"] > 60


def test_zero_points_are_0_where_the_operator_needs_it(search: Search) -> None:
    graph = search.build(search.start(0.5)).graph
    points = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith("_zero_point")}
    made_by = {node.output[0]: node for node in graph.node}
    transposed = [node for node in graph.node if node.op_type == "ConvTranspose"]
    assert len(transposed) == 2
    for node in transposed:
        zero = points[made_by[node.input[0]].input[2]]
        assert numpy_helper.to_array(zero) == 0
    assert len(multiplying(graph)) == 0  # their weights are integers now
