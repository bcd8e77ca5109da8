from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.factor_into_gain import FactorIntoGain

from .equivalence import Graph, applied, batches, channels, declined, noise, operators, random_graphs, sides


@random_graphs
@given(batches, channels, sides, sides, st.booleans())
def test_random_graphs(batch: int, channels: int, height: int, width: int, gain_first: bool) -> None:
    g = Graph((batch, channels, height, width))
    scaled = g.Mul("x", noise(1, channels, 1, 1))
    gain = g.ReduceL2(scaled, axes=[2, 3], keepdims=1)
    y = g.Mul(gain, scaled) if gain_first else g.Mul(scaled, gain)
    after = applied(g.model(y), FactorIntoGain)
    assert operators(after) == ["Mul", "ReduceL2", "Mul", "Mul"]
    (last,) = [node for node in after.graph.node if node.output[0] == after.graph.output[0].name]
    assert last.input[0] == "x"


def test_a_gain_of_each_pixel() -> None:
    g = Graph((1, 3, 8, 9))
    declined(g.model(g.Mul(g.Mul("x", noise(1, 3, 1, 1)), g.Relu("x"))), FactorIntoGain)


def test_a_factor_that_is_computed() -> None:
    g = Graph((1, 3, 8, 9))
    mean = g.ReduceMean("x", axes=[2, 3], keepdims=1)
    declined(g.model(g.Mul(g.Mul("x", mean), mean)), FactorIntoGain)
