from __future__ import annotations

from hypothesis import given

from nstopt.graph.rules.square_by_channel import SquareByChannel

from .equivalence import Graph, applied, declined, noise, operators, random_graphs, shapes


@random_graphs
@given(shapes)
def test_random_graphs(shape: tuple[int, ...]) -> None:
    g = Graph(shape)
    after = applied(g.model(g.Add(g.ReduceL2("x", axes=[2, 3], keepdims=1), "x")), SquareByChannel)
    assert operators(after) == ["Mul", "ReduceL2", "Add"]


def test_ignores_inputs_with_a_factor() -> None:
    g = Graph((1, 3, 4, 5))
    declined(g.model(g.ReduceL2(g.Mul("x", noise(1, 3, 1, 1)), axes=[2, 3], keepdims=1)), SquareByChannel)
