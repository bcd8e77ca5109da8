"""Opened graphs, fed with the statistics that they measure, against the graphs that they were made from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from conftest import noise as pixels
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from nstopt.engines import backend
from nstopt.errors import RewriteError
from nstopt.export.exporter import Exported
from nstopt.graph.nodes import shapes
from nstopt.graph.statistics import NORM, Opened, open_statistics
from nstopt.manifest import InputShape
from nstopt.ort import session
from nstopt.pipeline.lower import lower

from .rules.equivalence import EPSILONS, Array, Graph, assert_equal, batches, channels, noise, random_graphs, sides

random_shapes = st.tuples(batches, channels, sides, sides)


def fed_with_measured(opened: Opened, picture: Array) -> tuple[Array, dict[str, Array]]:
    """Run an opened graph as often as it has statistics, each time with those that it measured the last time."""
    run = session(opened.model.SerializeToString())
    known = shapes(opened.model.graph)
    names = [name for statistic in opened.statistics for name in statistic.inputs]
    fed = {name: np.ones([side or 1 for side in known[name]], np.float32) for name in names}
    for _ in opened.statistics:
        _, *measured = run.run(None, {opened.model.graph.input[0].name: picture, **fed})
        fed = dict(zip(names, measured, strict=True))
    return run.run(None, {opened.model.graph.input[0].name: picture, **fed})[0], fed


def check(model: onnx.ModelProto, operators: list[str]) -> Opened:
    """Check that a graph opens to these layers and computes the same with the measured statistics; return it open."""
    opened = open_statistics(model, measure=True)
    assert [one.operator for one in opened.statistics] == operators
    x = model.graph.input[0]
    dims = [dim.dim_value or 7 for dim in x.type.tensor_type.shape.dim]
    picture = (np.random.default_rng(1).standard_normal(dims) * 50 + 30).astype(np.float32)
    expected = session(model.SerializeToString()).run(None, {x.name: picture})
    assert_equal(expected, [fed_with_measured(opened, picture)[0]])
    return opened


@random_graphs
@given(random_shapes, st.sampled_from(EPSILONS))
def test_instance_norms(shape: tuple[int, ...], epsilon: dict[str, float]) -> None:
    g = Graph(shape)
    count = shape[1]
    y = g.InstanceNormalization("x", noise(count), noise(count), **epsilon)
    z = g.InstanceNormalization(g.Tanh(y), noise(count), noise(count), **epsilon)
    (first, second) = check(g.model(g.Relu(z)), [NORM, NORM]).statistics
    assert (first.source, first.inputs) == ("x", (f"{y}.mean", f"{y}.variance"))
    assert second.inputs == (f"{z}.mean", f"{z}.variance")


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("ReduceMean", {"axes": [2, 3]}),
        ("ReduceMean", {"axes": [-1, -2]}),
        ("ReduceL2", {"axes": [2, 3]}),
        ("ReduceSumSquare", {"axes": [2, 3]}),
        ("GlobalAveragePool", {}),
    ],
)
def test_reductions(operator: str, attributes: dict[str, list[int]]) -> None:
    g = Graph((2, 5, 6, 7))
    y = getattr(g, operator)(g.Relu("x"), **attributes)
    opened = check(g.model(g.Mul("x", g.Sqrt(y))), [operator])
    assert opened.statistics[0].inputs == (y,)


def test_a_reduction_whose_axes_are_an_input() -> None:
    g = Graph((2, 5, 6, 7))
    check(g.model(g.Sub("x", g.ReduceSum("x", np.array([3, 2])))), ["ReduceSum"])


def test_a_sum_without_its_dimensions() -> None:
    g = Graph((2, 5, 6, 7))
    sums = g.ReduceSum(g.Relu("x"), np.array([2, 3]), keepdims=0)
    opened = check(g.model(g.Add("x", g.Unsqueeze(sums, np.array([2, 3])))), ["ReduceSum"])
    assert shapes(opened.model.graph)[sums] == (2, 5)


def test_what_is_no_statistic_stays() -> None:
    g = Graph((2, 5, 6, 7))
    over_channels = g.ReduceMean("x", axes=[1])
    of_weights = g.Add(g.ReduceMean(noise(1, 5, 3, 3), axes=[2, 3]), np.float32(0))
    of_means = g.ReduceMean(g.ReduceMean("x", axes=[2, 3]), axes=[2, 3])
    model = g.model(g.Add(g.Mul(g.Sub("x", of_means), over_channels), of_weights))
    assert [node.op_type for node in check(model, ["ReduceMean"]).model.graph.node].count("ReduceMean") == 4


def test_a_graph_without_statistics() -> None:
    g = Graph((1, 3, 8, 8))
    model = g.model(g.Relu("x"))
    assert open_statistics(model).statistics == ()
    assert [value.name for value in open_statistics(model).model.graph.input] == ["x"]


def test_statistics_of_half_precision_are_refused() -> None:
    g = Graph((1, 3, 8, 8), TensorProto.FLOAT16)
    y = g.InstanceNormalization("x", noise(3).astype(np.float16), noise(3).astype(np.float16))
    with pytest.raises(RewriteError, match="InstanceNormalization of x: only statistics of float32"):
        open_statistics(g.model(y, kind=TensorProto.FLOAT16))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("family", ["fast-style", "instance norm", "frn", "separable"])
def test_nets(family: str, precision: str, export_family: Callable[[str], Exported]) -> None:
    raw = onnx.load(export_family(family).onnx)
    model = lower(raw, InputShape.of(1, None), backend("openvino"), precision).model
    picture = pixels(45, 62)[None]
    expected = session(model.SerializeToString()).run(None, {"image": picture})[0]
    found, measured = fed_with_measured(open_statistics(model, measure=True), picture)
    difference = np.abs(expected.astype(np.int16) - found)
    # A rounding error may turn a rounding to INT8 or FP16, and with it the pixels around.
    assert difference.max() <= (1 if precision == "fp32" else 8), np.bincount(difference.ravel())
    assert difference.mean() < 0.01
    assert all(np.isfinite(array).all() for array in measured.values())
