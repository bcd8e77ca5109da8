"""The search: candidates are compared by their pictures, and layers are raised only as far as the target needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from nstopt.calib.equalize import streams
from nstopt.calib.int8 import quantized_tensors
from nstopt.calib.observe import Histogram
from nstopt.calib.ranges import Int8Inputs
from nstopt.calib.recipe import Recipe, RecipeBuilder
from nstopt.calib.search import EXPONENTS, LEVEL_COST, SPARE_DB, Candidate, LevelCost, QualityTarget, Search
from nstopt.calib.statistics import CalibrationStats, collect
from nstopt.graph.nodes import clone, convolutions, initializers, multiplying, producers
from nstopt.pictures.files import Picture
from nstopt.progress import Silent

from .conftest import MakeGraph, render

INPUTS = Int8Inputs(("Conv",))
# Multiply-adds per pixel: 4 in a, b and c, 160 in the last.
CHAIN = """
<ir_version: 8, opset_import: ["" : 17]>
chain (float[1, 2, 8, 8] x) => (float[1, 80, 8, 8] y)
<float[2, 2, 1, 1] w, float[80, 2, 1, 1] v, float[1, 2, 8, 8] u, float[1, 2, 8, 8] t, float[1, 2, 8, 8] s> {
    u = Conv(x, w)
    t = Conv(u, w)
    s = Conv(t, w)
    y = Conv(s, v)
}
"""
# Values of a picture [64, 64, 3] that each layer in INT8 makes wrong, on an easy and on a hard picture.
WRONG = {"a": (100, 0), "b": (100, 0), "c": (100, 0), "last": (10, 2000)}
ALWAYS_WRONG = 20
KEPT = {"int8": 1.0, "int8x2": 0.1, "fp32": 0.0}


def level_of(model: onnx.ModelProto, layer: str) -> str:
    nodes = {node.name: node for node in model.graph.node}
    if f"{layer}#rest" in nodes:
        return "int8x2"
    return "int8" if nodes[layer].input[1].endswith("_weight_dq") else "fp32"


@dataclass
class FakeRender:
    """Renders an easy and a hard picture, all 0 but for the wrong values of the layers at their levels."""

    rendered: list[onnx.ModelProto] = field(default_factory=list)

    def __call__(self, model: onnx.ModelProto, pictures: Sequence[Picture]) -> tuple[list[Picture], float]:
        self.rendered.append(model)
        results = []
        for index, _ in enumerate(pictures):
            wrong = sum(count[index] * KEPT[level_of(model, layer)] for layer, count in WRONG.items())
            result = np.zeros(64 * 64 * 3, np.uint8)
            result[: ALWAYS_WRONG + round(wrong)] = 32
            results.append(result.reshape(64, 64, 3))
        return results, 1.0


def chain() -> tuple[onnx.ModelProto, CalibrationStats]:
    """Four convolutions with statistics of random values."""
    model = parser.parse_model(CHAIN)
    random = np.random.default_rng(0)
    for name, shape in (("w", (2, 2, 1, 1)), ("v", (80, 2, 1, 1))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    for node, name in zip(convolutions(model.graph), WRONG, strict=True):
        node.name = name
    histograms = {name: Histogram() for name in quantized_tensors(model.graph)}
    for histogram in histograms.values():
        histogram.add(random.uniform(size=(1, 2, 8, 8)).astype(np.float32))
    return model, CalibrationStats(histograms, {})


BLACK = [np.zeros((64, 64, 3), np.uint8)] * 2


def fake_search(fake: FakeRender | None = None, level_cost: LevelCost = LEVEL_COST) -> Search:
    model, stats = chain()
    return Search(model, stats, INPUTS, fake or FakeRender(), BLACK, reference=BLACK, level_cost=level_cost)


def test_layers_that_became_superfluous_are_lowered() -> None:
    """The cheap layers are raised first, but only the last one makes the hard picture good, and with it they are not
    needed."""
    search = fake_search()
    best = search.run(QualityTarget(mean_db=34, worst_db=33), Silent())
    assert best.recipe.levels == {"last": "int8x2"}
    raised = [set(candidate.recipe.levels) for candidate in search.tried]
    assert {"a", "b", "c", "last"} in raised
    assert fake_search().run(QualityTarget(mean_db=34, worst_db=33), Silent()) == best  # deterministic


@pytest.mark.parametrize("target_db", [35, 43])
def test_no_layer_can_be_lowered_further(target_db: float) -> None:
    search, target = fake_search(), QualityTarget(target_db, target_db - 1)
    best = search.run(target, Silent())
    assert target.is_met(best)
    levels = best.recipe.levels
    assert levels

    def with_levels(changed: Mapping[str, str]) -> Candidate:
        return search.evaluate(replace(best.recipe, levels=changed))

    for layer, level in levels.items():
        others = {name: one for name, one in levels.items() if name != layer}
        assert not target.is_met(with_levels(others))
        assert level == "int8x2" or not target.is_met(with_levels({**others, layer: "int8x2"}))


def test_a_target_out_of_reach_gives_the_closest_candidate() -> None:
    search = fake_search()
    best = search.run(QualityTarget(200, 200), Silent())
    assert best.score == max(candidate.score for candidate in search.tried)
    assert set(best.recipe.levels.values()) == {"fp32"}


@pytest.mark.parametrize(
    ("int8x2", "bf16", "used"),
    [(2.0, 1.0, "bf16"), (2.0, 2.0, "bf16"), (1.5, 2.0, "int8x2"), (1.0, 1.5, "int8x2")],
)
def test_a_level_is_worth_what_it_costs_here(int8x2: float, bf16: float, used: str) -> None:
    """Two INT8 convolutions are tried only between INT8 and the exact type: one that costs no more is exact."""
    search = fake_search(level_cost={"Conv": {"int8": 1.0, "int8x2": int8x2, "bf16": bf16}})
    best = search.run(QualityTarget(mean_db=34, worst_db=33), Silent())
    assert set(best.recipe.levels.values()) == {used}


def test_a_layer_that_is_faster_without_int8_is_never_quantized() -> None:
    """The transposed convolutions of OpenVINO, which write FP32 in INT8 engines with BF16 between."""
    cost = {"Conv": {"int8": 1.0, "int8x2": 2.0, "bf16": 0.5}}
    search = fake_search(level_cost=cost)
    best = search.run(QualityTarget(mean_db=34, worst_db=33), Silent())
    assert best.recipe.levels == dict.fromkeys(WRONG, "bf16")
    assert all(candidate.recipe.levels == best.recipe.levels for candidate in search.tried)


# Three layers before norms, with the values that each makes wrong when it writes INT8 (on the easy picture).
NORMED = """
<ir_version: 8, opset_import: ["" : 17]>
chain (float[1, 2, 8, 8] x) => (float[1, 2, 8, 8] y)
<float[2, 2, 1, 1] w, float[2] one> {
    a = Conv(x, w)
    an = InstanceNormalization(a, one, one)
    b = Conv(an, w)
    bn = InstanceNormalization(b, one, one)
    c = Conv(bn, w)
    cn = InstanceNormalization(c, one, one)
    y = Conv(cn, w)
}
"""
WRITTEN = {"a": 300, "b": 10, "c": 100}


def render_written(model: onnx.ModelProto, pictures: Sequence[Picture]) -> tuple[list[Picture], float]:
    """Render a picture, all 0 but for the wrong values of the layers that write INT8."""
    quantized = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    result = np.zeros(64 * 64 * 3, np.uint8)
    result[: ALWAYS_WRONG + sum(count for layer, count in WRITTEN.items() if layer in quantized)] = 32
    return [result.reshape(64, 64, 3)] * len(pictures), 1.0


@pytest.mark.parametrize(
    ("wrong", "written"), [(0, ""), (9, ""), (10, "b"), (109, "b"), (110, "bc"), (400, "bc"), (410, "abc")]
)
def test_as_many_convolutions_write_int8_as_the_target_allows(wrong: int, written: str) -> None:
    """Those that add the smallest error come first."""
    model = parser.parse_model(NORMED)
    random = np.random.default_rng(0)
    model.graph.initializer.append(numpy_helper.from_array(random.normal(size=(2, 2, 1, 1)).astype(np.float32), "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "one"))
    for node, name in zip(convolutions(model.graph), (*WRITTEN, "last"), strict=True):
        node.name = name
    histograms = {name: Histogram() for name in (*quantized_tensors(model.graph), *WRITTEN)}
    for histogram in histograms.values():
        histogram.add(random.normal(size=(1, 2, 8, 8)).astype(np.float32))
    target_db = psnr_of(ALWAYS_WRONG + wrong)
    for norms in (True, False):
        inputs = replace(INPUTS, norms=norms)
        search = Search(model, CalibrationStats(histograms, {}), inputs, render_written, BLACK, reference=BLACK)
        best = search.run(QualityTarget(target_db - SPARE_DB, target_db - SPARE_DB), Silent())
        assert best.recipe.levels == dict.fromkeys(written if norms else "", "int8-out")


def psnr_of(wrong: int) -> float:
    """PSNR in dB of a picture with so many wrong values, and a little less."""
    return float(10 * np.log10(255**2 / (32**2 * wrong / (64 * 64 * 3)))) - 1e-6


def test_candidates_are_finished_before_they_are_rendered() -> None:
    def finish(model: onnx.ModelProto) -> onnx.ModelProto:
        finished = clone(model)
        finished.producer_name = "finished"
        return finished

    fake = FakeRender()
    model, stats = chain()
    search = Search(model, stats, INPUTS, fake, BLACK, finish=finish)
    best = search.run(QualityTarget(0, 0), Silent())
    assert [one.producer_name == "finished" for one in fake.rendered] == [False] + [True] * len(search.tried)
    assert search.build(best.recipe).producer_name != "finished"


def test_the_reference_can_be_given() -> None:
    """Then the FP32 graph is not rendered."""
    model, stats = chain()
    fake = FakeRender()
    white = [np.full((64, 64, 3), 255, np.uint8)] * 2
    search = Search(model, stats, INPUTS, fake, BLACK, reference=white)
    assert not fake.rendered
    assert search.evaluate(Recipe((None,) * 3)).mean_db == pytest.approx(0, abs=0.5)


class Calibrated(NamedTuple):
    model: onnx.ModelProto
    stats: CalibrationStats
    pictures: list[Picture]

    def search(self) -> Search:
        return Search(self.model, self.stats, INPUTS, render, self.pictures)

    def recipe(self, exponent: float | None) -> Recipe:
        return Recipe((exponent,) * len(streams(self.model.graph)))


@pytest.fixture(scope="module")
def net(make_rewritten: MakeGraph, small_pictures: list[Picture]) -> Calibrated:
    model, pictures = make_rewritten("fast-style"), small_pictures[:3]
    return Calibrated(model, collect(model, pictures), pictures)


def test_a_net_is_raised_until_the_target_is_met(net: Calibrated) -> None:
    search = net.search()
    plain = search.run(QualityTarget(0, 0), Silent())
    assert plain.recipe.levels == {}
    assert plain.mean_db == max(candidate.mean_db for candidate in search.tried)
    assert len(search.tried) == len(EXPONENTS) + 2  # and weights to the nearest, and min-max ranges
    target = QualityTarget(plain.mean_db + 1, plain.worst_db + 1)
    best = search.run(target, Silent())
    assert target.is_met(best)
    assert best.recipe.levels


def test_int8x2_lies_between_int8_and_fp32(net: Calibrated) -> None:
    """All layers in int8x2 leave the rounding of the weights; all in FP32 leave nothing."""
    search = net.search()
    layers = [node.name for node in multiplying(net.model.graph)]
    psnr = {
        level: search.evaluate(replace(net.recipe(None), levels=dict.fromkeys(layers, level))).mean_db
        for level in ("int8", "int8x2", "fp32")
    }
    assert psnr["int8"] + 3 < psnr["int8x2"] < psnr["fp32"]
    assert psnr["fp32"] > 60


def test_zero_points_are_0_where_the_operator_needs_it(net: Calibrated) -> None:
    graph = RecipeBuilder(net.model, net.stats, INPUTS).build(net.recipe(0.5)).graph
    points = initializers(graph)
    made_by = producers(graph)
    transposed = [node for node in graph.node if node.op_type == "ConvTranspose"]
    assert len(transposed) == 2
    for node in transposed:
        assert points[made_by[node.input[0]].input[2]] == 0
    assert len(multiplying(graph)) == 0  # their weights are integers now
