"""Equal for every part of a shape."""

from __future__ import annotations

import numpy as np
import pytest

from nstopt.graph.rules.whole_shape import WholeShape

from .equivalence import Graph, applied, operators, run


@pytest.mark.parametrize("ends", [{"start": 1, "end": 2}, {"start": 2}, {"end": -1}, {"start": -2, "end": 9}])
def test_parts_of_a_shape(ends: dict[str, int]) -> None:
    g = Graph(("N", 3, "H", 7))
    model = g.model(g.Cast(g.Shape("x", **ends), to=1))
    after = applied(model, WholeShape)
    assert "Slice" in operators(after)
    assert not next(node for node in after.graph.node if node.op_type == "Shape").attribute
    np.testing.assert_array_equal(run(after)[0], run(model)[0])


def test_whole_shapes_stay() -> None:
    g = Graph(("N", 3, "H", 7))
    assert operators(applied(g.model(g.Cast(g.Shape("x"), to=1)), WholeShape, times=0)) == ["Shape", "Cast"]
