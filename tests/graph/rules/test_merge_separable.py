from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nstopt.graph.rules.merge_separable import MergeSeparable

from .equivalence import Graph, applied, declined, noise, operators, pairs, random_graphs

BY_ONE = np.array([0, 0, 1, 1, 0, 0, 1, 1])
DOUBLED = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def doubled(g: Graph, x: str = "x") -> str:
    return g.Resize(x, "", np.array([1, 1, 2, 2], np.float32), **DOUBLED)


@random_graphs
@given(
    st.tuples(st.integers(2, 5), st.integers(1, 4)),
    pairs(2, 5),
    st.sampled_from(["reflect", "edge", "own", "none"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 2),
)
def test_random_graphs(
    channels: tuple[int, int], size: tuple[int, int], padding: str, first_bias: bool, second_bias: bool, stride: int
) -> None:
    inputs, outputs = channels
    g = Graph((1, inputs, *size))
    x = doubled(g)
    x = g.Pad(x, BY_ONE, mode=padding) if padding in ("reflect", "edge") else x
    own = [1, 1, 1, 1] if padding == "own" else [0, 0, 0, 0]
    weight, bias = noise(inputs, 1, 3, 3), [noise(inputs)] if first_bias else []
    y = g.Conv(x, weight, *bias, group=inputs, pads=own, strides=[stride, stride])
    z = g.Conv(y, noise(outputs, inputs, 1, 1), *([noise(outputs)] if second_bias else []))
    after = applied(g.model(z), MergeSeparable, "dense")
    assert operators(after).count("Conv") == 1


def test_any_size() -> None:
    g = Graph((1, 3, "H", "W"))
    y = g.Conv(g.Pad(doubled(g), BY_ONE, mode="reflect"), noise(3, 1, 3, 3), group=3)
    applied(g.model(g.Conv(y, noise(4, 3, 1, 1))), MergeSeparable, "dense")


def test_declines_other_readers_between() -> None:
    g = Graph((1, 3, 4, 5))
    y = g.Conv(doubled(g), noise(3, 1, 3, 3), group=3)
    declined(g.model(g.Conv(y, noise(4, 3, 1, 1)), y), MergeSeparable, "has other readers", "dense")


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"pads": [1, 1, 1, 1]}])
def test_declines_other_pointwise_convolutions(attributes: dict[str, object]) -> None:
    g = Graph((1, 3, 4, 5))
    y = g.Conv(doubled(g), noise(3, 1, 3, 3), group=3)
    z = g.Conv(y, noise(4, 3, 1, 1), **attributes)
    declined(g.model(z), MergeSeparable, "is grouped, strided or padded", "dense")


def test_ignores_what_is_not_separable_or_not_doubled() -> None:
    g = Graph((1, 4, 6, 6))
    pointwise = noise(4, 4, 1, 1)
    for first in (
        g.Conv(doubled(g), noise(4, 4, 3, 3)),
        g.Conv(doubled(g), noise(4, 2, 3, 3), group=2),
        g.Conv("x", noise(4, 1, 3, 3), group=4),
    ):
        declined(g.model(g.Conv(first, pointwise)), MergeSeparable, form="dense")
    y = g.Conv(doubled(g), noise(4, 1, 3, 3), group=4)
    declined(g.model(g.Conv(y, noise(4, 4, 3, 3))), MergeSeparable, form="dense")
    declined(g.model(g.Conv(y, pointwise)), MergeSeparable, form="plain")
