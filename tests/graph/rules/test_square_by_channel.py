from __future__ import annotations

from hypothesis import given

from nstopt.graph.rules.square_by_channel import SquareByChannel

from .equivalence import Graph, applied, batches, channels, declined, noise, operators, random_graphs, sides


@random_graphs
@given(batches, channels, sides, sides)
def test_random_graphs(batch: int, channels: int, height: int, width: int) -> None:
    g = Graph((batch, channels, height, width))
    after = applied(g.model(g.Add(g.ReduceL2("x", axes=[2, 3], keepdims=1), "x")), SquareByChannel)
    assert operators(after) == ["Mul", "ReduceL2", "Add"]


def test_a_factor_that_is_there() -> None:
    g = Graph((1, 3, 4, 5))
    declined(g.model(g.ReduceL2(g.Mul("x", noise(1, 3, 1, 1)), axes=[2, 3], keepdims=1)), SquareByChannel)
