from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.factor_into_gain import FactorIntoGain

from .equivalence import Graph, applied, declined, noise, operators, random_graphs, shapes


@random_graphs
@given(shapes, st.booleans())
def test_random_graphs(shape: tuple[int, ...], gain_is_first: bool) -> None:
    g = Graph(shape)
    scaled = g.Mul("x", noise(1, shape[1], 1, 1))
    gain = g.ReduceL2(scaled, axes=[2, 3], keepdims=1)
    y = g.Mul(gain, scaled) if gain_is_first else g.Mul(scaled, gain)
    after = applied(g.model(y), FactorIntoGain)
    assert operators(after) == ["Mul", "ReduceL2", "Mul", "Mul"]
    (last,) = [node for node in after.graph.node if node.output[0] == after.graph.output[0].name]
    assert last.input[0] == "x"


def test_ignores_gains_per_pixel() -> None:
    g = Graph((1, 3, 8, 9))
    declined(g.model(g.Mul(g.Mul("x", noise(1, 3, 1, 1)), g.Relu("x"))), FactorIntoGain)


def test_ignores_computed_factors() -> None:
    g = Graph((1, 3, 8, 9))
    mean = g.ReduceMean("x", axes=[2, 3], keepdims=1)
    declined(g.model(g.Mul(g.Mul("x", mean), mean)), FactorIntoGain)
